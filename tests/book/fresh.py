"""Run the snippet that checks one claim: in this process, or in a fresh one on a copy of the package.

Fresh processes are forked from one that has imported what each of them needs (`book.preloaded`), but never the
package; where there is no forking, each imports all of it anew. So this module must not import the package either.
"""

import multiprocessing
import os
import sys
import traceback
from pathlib import Path

METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
SECONDS = 600


def failures(root, claim, name):
    """Return how the blocks of a page that check a claim fail.

    Args:
        root: the folder of the page's name.
        claim: the label of the result.
        name: the page, relative to `root`.

    Returns:
        The kind and the message of each failure.
    """
    from derivable_book.snippets import Document, check_claim

    session = check_claim(Document(root / name, name, (root / name).read_text(encoding="utf-8")), claim)
    return [(error.kind, str(error)) for block, error in session.failures if claim in block.checks]


def _answer(sender, root, claim, name, source, variables):
    """Send what `failures` returns and which package it used, or the traceback and nothing."""
    try:
        assert "derivable" not in sys.modules, "a package is imported that is not the copy"
        os.chdir(root)
        os.environ |= variables
        sys.path[:0] = [str(root / "docs"), str(source)]
        sender.send((failures(root, claim, name), sys.modules["derivable"].__file__))
    except Exception:
        sender.send((traceback.format_exc(), None))


def failures_in_a_fresh_process(root, claim, name, source, variables):
    """Return the same from a process that imports the package from `source`, with further environment variables."""
    context = multiprocessing.get_context(METHOD)
    if METHOD == "forkserver":
        context.set_forkserver_preload(["book.preloaded"])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, root, claim, name, source, variables))
    process.start()
    sender.close()  # with the other process's end closed too, nothing more can come
    try:
        assert receiver.poll(SECONDS), f"the snippet of {claim} runs for longer than {SECONDS} s"
        found, package = receiver.recv()
    except EOFError:
        process.join()
        raise AssertionError(f"the process of {claim} ended with {process.exitcode}") from None
    finally:
        receiver.close()
        process.join(10)
        if process.is_alive():
            process.kill()
            process.join()
    assert package, found
    assert Path(package).is_relative_to(source), f"{package} was used in place of the copy"
    return found
