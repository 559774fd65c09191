"""Figures that the reader moves: by keyboard, on a phone, without a script, on paper. Their numbers are right."""

import re

import numpy as np
import pytest

import derivable as dv

pytestmark = pytest.mark.browser


class Figure:
    """One figure in a page."""

    def __init__(self, tab, label):
        self.tab, self.root = tab, tab.page.locator(f"figure#{label}")
        self.root.locator(".moving-controls").wait_for()

    def move(self, name, to):
        """Move a control to an index as a reader's hand does; return what it says that it is at."""
        control = self.root.locator(f"[data-control={name}]")
        if control.evaluate("control => control.matches('select')"):
            control.select_option(index=to)
            return control.evaluate("control => control.selectedOptions[0].textContent")
        control.fill(str(to))
        assert control.get_attribute("aria-valuetext") == control.locator("+ span").inner_text()
        return control.get_attribute("aria-valuetext")

    def last(self, name):
        return int(self.root.locator(f"[data-control={name}]").get_attribute("max"))

    def says(self, name):
        return self.root.locator(f"[data-number={name}]").inner_text()

    def number(self, name):
        return float(self.says(name))


def rounded(number, text):
    """Whether a text is that number, rounded to the digits that it shows."""
    digits = re.fullmatch(r"-?\d+(?:\.(\d+))?(?:e([-+]\d+))?", text)
    assert digits, text
    unit = 10.0 ** (int(digits.group(2) or 0) - len(digits.group(1) or ""))
    return abs(float(text) - number) <= 0.51 * unit


def check_proximal(figure):
    def f(u):
        return dv.softplus(2 * u) - 0.9 * u + 0.15 * u**2

    for start, trust in ((0, 0), (8, 5), (10, 11)):
        w, lam = float(figure.move("start", start)), float(figure.move("trust", trust))
        slope = 2 * dv.sigmoid(2 * w) - 0.9 + 0.3 * w
        end = dv.proximal_step(slope, w, lam)
        assert rounded(1 / lam, figure.says("eta"))
        assert rounded(end, figure.says("end"))
        assert rounded(f(end) - f(w), figure.says("change"))
        assert rounded(-(1 - 1.3 / (2 * lam)) * slope**2 / lam, figure.says("bound"))
        assert lam < 0.65 or figure.number("change") <= figure.number("bound")


def check_front(figure):
    bowl = dv.problems.quadratic(np.diag([1.0, 8.0]))
    for start, step in ((0, 0), (1, 9), (3, 17)):
        w = np.array(figure.move("start", start).strip("()").split(", "), dtype=float)
        eta = float(figure.move("step", step).removesuffix("/L")) / 8
        run = dv.gradient_descent(bowl.gradient, w, eta, 20, bowl.args, value=bowl.value)
        assert rounded(run.values[-1], figure.says("value"))
        assert rounded(max(abs(1 - eta), abs(1 - 8 * eta)) ** 40 * run.values[0], figure.says("bound"))


def check_tangent(figure):
    for name, x in ((0, 36), (1, 20), (3, 24), (6, 31)):
        word = figure.move("name", name).lower()
        at = float(figure.move("x", x))
        slope = getattr(dv, f"d{word}")(at)
        assert rounded(getattr(dv, word)(at), figure.says("value"))
        assert rounded(slope, figure.says("slope"))
        assert rounded(abs(slope) ** 10, figure.says("ten"))


def check_steps(figure):
    from figures.moving_convergence import _kinked, gap

    problem = _kinked(10, 2)
    for T_index, index in ((0, 0), (2, 6), (5, 8)):
        T, scale = int(figure.move("T", T_index)), float(figure.move("scale", index))
        step = scale * problem.B / (problem.rho * np.sqrt(T))
        bound = dv.rate_bound("subgradient", B=problem.B, rho=problem.rho, T=T, step=step)
        assert rounded(gap(scale, T), figure.says("gap"))
        assert rounded(bound, figure.says("bound"))
        assert rounded(problem.B * problem.rho / np.sqrt(T), figure.says("best"))
        assert figure.number("gap") <= figure.number("bound")


def check_tape(figure):
    def f(w1, w2):
        return np.cos(w1) * np.cos(w2) + dv.sigmoid(w2), np.log(w1 + w2) + w1**2 * w2

    jacobian = dv.trace(f, 1.0, 2.0).jacobian
    for mode, wanted in enumerate((*jacobian.T, *jacobian)):
        said = figure.move("mode", mode)
        figure.move("step", figure.last("step"))
        shown = figure.says("result").split(", ")
        assert all(rounded(w, s) for w, s in zip(wanted, shown, strict=True)), said
        figure.move("step", 0)
        assert figure.says("result") == "not yet"


def check_convolution(figure):
    from figures.moving_convolution import KERNEL, PICTURE

    for stride, padding, dilation in ((0, 1, 0), (1, 2, 0), (2, 0, 1), (0, 0, 1)):
        options = {
            name: int(figure.move(name, index))
            for name, index in (("stride", stride), ("padding", padding), ("dilation", dilation))
        }
        out = dv.conv2d(PICTURE[None, None], KERNEL[None, None], **options)[0, 0]
        assert figure.says("size") == "{} × {}".format(*out.shape)
        assert figure.last("place") == out.size - 1
        for place in (0, out.size // 2, out.size - 1):
            assert figure.move("place", place) == str(place + 1)
            terms, _, total = figure.says("sum").partition(" = ")
            assert float(total) == out.flat[place]
            products = re.findall(r"([-+]?\d+)·(\d+)", terms)
            assert len(products) == 6
            assert sum(int(a) * int(b) for a, b in products) == float(total)


def check_cloud(figure):
    for order, eta in ((0, 2), (0, 6), (1, 2), (1, 11)):
        independent = figure.move("order", order) == "independent draws"
        step = float(figure.move("eta", eta))
        kind = {"order": "replacement"} if independent else {"order": "shuffle", "n": 2}
        ball = np.ravel(dv.noise_ball(step, 1.0, 9 / 4, **kind))[-1]
        closed = 9 / 4 * (step / (2 - step) if independent else step**4 / (1 - (1 - step) ** 4))
        assert np.isclose(ball, closed)
        assert rounded(ball, figure.says("ball"))
        assert abs(figure.number("seen") / ball - 1) < 0.05


def check_double_descent(figure):
    from figures.moving_generalization import fit

    for seed, width in ((0, 2), (1, 10), (2, 22)):
        draw = int(figure.move("seed", seed).removeprefix("draw ")) - 1
        features = int(figure.move("width", width))
        *_, norm, on, off = fit(features, draw)
        for name, value in (("norm", norm), ("off", off)):
            assert abs(figure.number(name) / value - 1) < 0.006
        assert figure.number("on") == (pytest.approx(on, rel=0.006) if on > 1e-12 else 0)
    sizes = {}
    for width in (6, 10, 22):
        figure.move("width", width)
        sizes[width] = figure.number("median")
    assert sizes[10] > 3 * max(sizes[6], sizes[22])  # the peak is where the caption says


def check_depth(figure):
    rng = np.random.default_rng(7)  # other weights than the figure's: the sizes agree, the digits need not
    for name, scale in ((0, 4), (0, 1), (1, 4), (2, 2)):
        word = figure.move("name", name).lower()
        s = float(figure.move("scale", scale))
        g, dg = getattr(dv, word), getattr(dv, f"d{word}")
        signal, slopes, weights = rng.normal(size=(40, 100)), [], []
        for _ in range(30):
            weights.append(s * np.sqrt(2 / 100) * rng.normal(size=(100, 100)))
            z = signal @ weights[-1]
            signal, slope = g(z), dg(z)
            slopes.append(slope)
        back = rng.normal(size=(40, 100))
        for w, slope in zip(reversed(weights), reversed(slopes), strict=True):
            back = (back * slope) @ w.T
        for said, values in (("signal", signal), ("gradient", back)):
            assert 0.2 < figure.number(said) / np.sqrt(np.mean(values**2)) < 5


FIGURES = {
    "moving-front": ("", check_front),
    "moving-tangent": ("chapters/activations/", check_tangent),
    "moving-proximal": ("chapters/descent/", check_proximal),
    "moving-steps": ("chapters/convergence/", check_steps),
    "moving-tape": ("chapters/autodiff/", check_tape),
    "moving-convolution": ("chapters/convolution/", check_convolution),
    "moving-cloud": ("chapters/stochastic/", check_cloud),
    "moving-depth": ("chapters/networks/", check_depth),
    "moving-double-descent": ("chapters/generalization/", check_double_descent),
}


@pytest.mark.parametrize("label", FIGURES)
def test_the_numbers_are_the_packages_wherever_the_reader_moves(visit, figures, label):
    path, check = FIGURES[label]
    # Each width and each scheme is loaded once, and the figure is moved in all four looks.
    for width, loaded, chosen in ((1280, "light", "dark"), (390, "dark", "light")):
        tab = visit(width, loaded)
        tab.open(path)
        check(Figure(tab, label))
        tab.prefer(chosen)
        check(Figure(tab, label))
        assert not tab.trouble
        tab.close()


def test_every_figure_that_moves_is_tested(site):
    found = {
        label
        for page in site.rglob("*.html")
        for label in re.findall(r'<figure id="([^"]+)" class="drawing moving"', page.read_text(encoding="utf-8"))
    }
    assert found == set(FIGURES)


def test_a_figure_moves_by_keyboard_and_says_so(visit):
    tab = visit()
    tab.open("chapters/descent/")
    figure = Figure(tab, "moving-proximal")
    slider = figure.root.locator("[data-control=trust]")
    assert slider.evaluate("slider => slider.labels[0].textContent").startswith("price")
    strokes = figure.root.locator(".moving-marks path")
    before = [strokes.evaluate_all("paths => paths.map(path => path.getAttribute('d'))"), figure.says("end")]
    slider.focus()
    tab.page.keyboard.press("ArrowRight")
    after = [strokes.evaluate_all("paths => paths.map(path => path.getAttribute('d'))"), figure.says("end")]
    assert before[1] != after[1]
    assert sum(a != b for a, b in zip(before[0], after[0], strict=True)) >= 3
    assert slider.get_attribute("aria-valuetext") == "2.6"
    tab.page.keyboard.press("ArrowLeft")
    assert figure.says("end") == before[1]
    assert figure.root.locator("dl").get_attribute("aria-live") == "polite"


def test_a_limit_takes_the_control_with_it(visit):
    tab = visit()
    tab.open("chapters/convolution/")
    figure = Figure(tab, "moving-convolution")
    figure.move("padding", 2)
    figure.move("place", 80)
    figure.move("stride", 2)
    assert figure.last("place") == 8
    assert figure.root.locator("[data-control=place]").get_attribute("aria-valuetext") == "9"
    assert figure.says("size") == "3 × 3"


def test_a_figure_reached_by_a_click_moves_too(visit):
    tab = visit()
    tab.open("chapters/activations/")
    tab.page.wait_for_load_state("networkidle")
    tab.page.evaluate("window.loadedOnce = true")
    tab.page.locator(".md-footer__link--next").click()
    figure = Figure(tab, "moving-proximal")
    assert tab.page.evaluate("window.loadedOnce")
    figure.move("trust", 0)
    assert figure.says("eta") == "2.500"


def test_without_a_script_and_on_paper_a_still_picture_remains(chromium, address, visit):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address + "chapters/descent/")
    figure = page.locator("#moving-proximal")
    assert not figure.locator(".moving-controls").is_visible()
    assert figure.locator("svg").first.is_visible()
    assert figure.locator(".moving-marks path").count() >= 6
    assert figure.locator("[data-number=eta]").inner_text() == "0.500"
    context.close()
    tab = visit()
    tab.open("chapters/descent/")
    printed = Figure(tab, "moving-proximal")
    tab.page.emulate_media(media="print")
    assert not printed.root.locator(".moving-controls").is_visible()
    assert printed.root.locator("svg").first.is_visible()
    assert printed.says("eta") == "0.500"
