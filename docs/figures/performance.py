"""The tables and figures of speed, made from what `make bench` stored in docs/data."""

import json
from functools import cache
from pathlib import Path

from figures.drawing import BLUE, GREEN, INK, MUTED, ORANGE, figure, new

from derivable_book.extension import inline

DATA = Path(__file__).resolve().parents[1] / "data"
COMMAND = "python -m tests.benchmarks autodiff --json docs/data/autodiff.json"

# Why a target is missed where it is; a program that misses one and has no line here ends the build.
REASONS = {
    "Rosenbrock, n = 2": "from Python the function takes 0.2 µs, which is its call; to allocate an array, to hand it to "
    "Python and to free it takes 0.5 µs more. The same gradient written by hand takes as long. In a compiled loop, where "
    "no array is made, the ratio is the one of the second table.",
    "Rosenbrock, n = 10": "the same.",
    "Rosenbrock, n = 100,000": "JAX computes on two threads, and the compiled loop on one.",
    "logistic regression, 1000 x 50, as loops": "the sum over the 50 features is one chain of additions, which the "
    "compiler may not reorder. JAX computes whole arrays, with a library's matrix product; so does the program in the "
    "next line, and that is faster than JAX.",
    "logistic regression, 20 x 100,000": "both wait for memory; JAX does so on two threads.",
}


@cache
def stored(name: str) -> dict:
    """Read a stored run."""
    return json.loads((DATA / f"{name}.json").read_text())


def table(head: list[str], rows: list[list[str]], first_left: bool = True) -> str:
    """Write a table; on a narrow screen it scrolls."""
    style = ' style="text-align:right"'
    heads = "".join(f"<th{style if k or not first_left else ''}>{inline(cell)}</th>" for k, cell in enumerate(head))
    body = "".join(
        "<tr>"
        + "".join(f"<td{style if k or not first_left else ''}>{inline(c)}</td>" for k, c in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="md-typeset__scrollwrap"><div class="md-typeset__table"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div></div>"
    )


def time(seconds: float) -> str:
    """Write a time with three digits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9)):
        if seconds >= size or unit == "ns":
            value = seconds / size
            return (
                f"{value:.0f} {unit}"
                if value >= 100
                else f"{value:.1f} {unit}"
                if value >= 10
                else f"{value:.2f} {unit}"
            )
    return ""


def times(ratio: float) -> str:
    """Write a ratio with two or three digits."""
    return f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.1f}" if ratio >= 2 else f"{ratio:.2f}"


def machine(name: str = "autodiff", key: str = "machine") -> str:
    """Say on what a run was made."""
    m = stored(name)[key]
    versions = ", ".join(f"{k} {v}" for k, v in m["versions"].items())
    return (
        f"<p>{m['date']}, {m['processor']} with {m['cores']} cores, {m['threads']} thread(s) for every library, {versions}. The load of the machine at the start was "
        f"{m['load']}; the numbers are least times of calls that took turns.</p>"
    )


def derivatives() -> str:
    """Print the suite."""
    data = stored("autodiff")
    peers = sorted({p for row in data["rows"] for p in row["peers"]}, key=["JAX", "torch", "autograd"].index)
    rows = [
        [
            row["program"],
            time(row["function"]),
            time(row["gradient"]),
            f"{row['gradient'] / row['function']:.2f}",
            *(times(row["peers"][p] / row["gradient"]) if p in row["peers"] else "–" for p in peers),
        ]
        for row in data["rows"]
    ]
    return table(["program", "function", "value and gradient", "ratio", *peers], rows)


def inside() -> str:
    """Print the gradient in compiled loops."""
    rows = [
        [row["program"], time(row["function"]), time(row["gradient"]), f"{row['gradient'] / row['function']:.2f}"]
        for row in stored("autodiff")["inside"]
    ]
    return table(["called in a compiled loop", "function", "gradient", "ratio"], rows)


def compilation() -> str:
    """Print the times of first calls."""
    rows = [
        [
            row["program"],
            f"{row['function']:.2f} s",
            f"{row['gradient']:.2f} s",
            f"{row['gradient'] / row['function']:.1f}",
            f"{row['again']:.2f} s",
            str(row["compiled again"]),
        ]
        for row in stored("autodiff")["compilation"]
    ]
    heads = ["program", "function", "value and gradient", "ratio", "next process", "compiled there"]
    return table(heads, rows)


def misses() -> list[tuple[str, str, str]]:
    """Return what misses a target: the program, in which way, and why."""
    found = []
    for row in stored("autodiff")["rows"]:
        ratio, jax = row["gradient"] / row["function"], row["peers"]["JAX"] / row["gradient"]
        words = []
        if ratio > 4:
            words.append(f"{ratio:.2f} times the function")
        if jax < 1:
            words.append(f"JAX takes {jax:.2f} of our time")
        if words:
            found.append((row["program"], " and ".join(words), REASONS[row["program"]]))
    return found


def shortfalls() -> str:
    """Say where a target is missed, and why."""
    found = misses()
    if not found:
        return "<p>Every program of the table meets both.</p>"
    items = "".join(f"<li><strong>{inline(p)}</strong> ({w}): {inline(why)}</li>" for p, w, why in found)
    return f"<p>These do not:</p><ul>{items}</ul>"


def summary() -> str:
    """Say the result in a paragraph."""
    data = stored("autodiff")
    ratios = sorted(row["gradient"] / row["function"] for row in data["rows"])
    against = sorted(row["peers"]["JAX"] / row["gradient"] for row in data["rows"])
    m = data["machine"]
    inside_ = {row["program"]: row for row in data["inside"]}["Rosenbrock, n = 2"]
    return (
        f"<p>On a suite of {len(ratios)} programs, from one formula to a convolutional network, value and gradient take "
        f"between {ratios[0]:.1f} and {ratios[-1]:.1f} times the function, {ratios[len(ratios) // 2]:.1f} in the middle. "
        f"Compiled by JAX, value and gradient of the same functions take between {times(against[0])} and "
        f"{times(against[-1])} times as long as here, {times(against[len(against) // 2])} in the middle. Within a compiled "
        f"loop a gradient of Rosenbrock's function of two variables takes {time(inside_['gradient'])}. "
        f"({m['processor']}, {m['cores']} cores, JAX {m['versions']['JAX']}, {m['date']}.)</p>"
    )


def costs() -> str:
    """Draw the cost of gradients against the function, here and in JAX."""
    data = stored("autodiff")
    rows = sorted(data["rows"], key=lambda row: -row["gradient"])
    fig, ax = new(height=0.25 * len(rows) + 1.0)
    colours = {"JAX": ORANGE, "torch": GREEN, "autograd": MUTED}
    for k, row in enumerate(rows):
        for peer, seconds in row["peers"].items():
            ax.plot(seconds * 1e6, k, "o", color=colours[peer], ms=3.5, label=peer if k == 0 else None)
        ax.plot(row["gradient"] * 1e6, k, "D", color=BLUE, ms=4, label="here" if k == 0 else None)
        ax.plot(row["function"] * 1e6, k, "|", color=INK, ms=8, label="the function itself" if k == 0 else None)
    ax.set_yticks(range(len(rows)), [row["program"] for row in rows])
    ax.set(xscale="log", xlabel="microseconds for value and gradient", ylim=(-0.7, len(rows) - 0.3))
    ax.grid(axis="y", lw=0.3)
    handles, labels = ax.get_legend_handles_labels()
    by_name = dict(zip(labels, handles, strict=True))
    for peer in colours:
        if peer not in by_name and any(peer in row["peers"] for row in rows):
            by_name[peer] = ax.plot([], [], "o", color=colours[peer], ms=3.5)[0]
    fig.legend(by_name.values(), by_name.keys(), loc="outside lower center", ncols=3)
    return figure(
        fig,
        label="autodiff-costs",
        caption="Value and gradient of the suite's programs. Below about 100 microseconds a library that plans each call "
        "in Python pays more for the planning than for the arithmetic.",
        alt="For each program of the suite the time of the function, of value and gradient here, and in JAX, torch and "
        "autograd, on a logarithmic axis. The diamonds of this package stand close to the function, left of the peers' dots.",
    )
