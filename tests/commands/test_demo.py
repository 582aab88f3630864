"""`cxredit demo`: what stands in its page, and what a browser makes of it."""

import json
import re
import shutil
import tempfile
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from cxredit_cli.anatomy.measures import FIGURES, measure_images
from cxredit_cli.app import app
from cxredit_cli.editing.demonstration import BUNDLED_RADIOGRAPH
from cxredit_cli.figures.sheets import diverging_colours
from cxredit_cli.radiographs.geometry import fit_square
from cxredit_cli.radiographs.read import read_radiograph
from cxredit_cli.storage.anatomy_network import load_anatomy
from cxredit_cli.storage.dataset import split_of
from cxredit_cli.storage.directions import Direction, write_direction
from cxredit_cli.storage.models import BUNDLED, load_model

STRENGTHS = [-9.0, -4.5, 0.0, 4.5, 9.0]
SCAN = "00001336_000.png"


def demo(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["demo", *map(str, arguments)])


@dataclass(frozen=True)
class Page:
    path: Path
    text: str
    states: list[dict[str, Any]]  # original, reconstruction, edits
    document: dict[str, Any]  # what --json printed


def read_states(text: str) -> list[dict[str, Any]]:
    found = re.search(r'<script type="application/json" id="states">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    states: list[dict[str, Any]] = json.loads(found[1])
    return states


def picture(uri: str) -> Image.Image:
    assert uri.startswith("data:image/png;base64,")
    image = Image.open(BytesIO(b64decode(uri.partition(",")[2])))
    image.load()
    return image


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page of the bundled radiograph by the bundled model."""
    path = tmp_path_factory.mktemp("demo") / "demo.html"
    own = BUNDLED / "directions" / "cardiomegaly.h5"
    result = demo("--model", BUNDLED, "-d", own, "--sweep", "-9:9:5", "--steps", 10, "-o", path, "--json")
    assert result.exit_code == 0, result.output
    text = path.read_text()
    return Page(path, text, read_states(text), json.loads(result.stdout))


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model_dir: Path) -> Path:
    """An empty folder with ./model, random and with a direction of its own."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_model_dir, tmp_path / "model")
    vector = np.eye(32, dtype=np.float32)[:1]
    fingerprint = load_model(tiny_model_dir).fingerprint
    write_direction(tmp_path / "model" / "directions" / "cardiomegaly.h5", Direction(vector, "x", "lda", fingerprint))
    return tmp_path


class References(HTMLParser):
    """Everything that a page could load, and where its links lead."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attributes:
            if tag == "a" and name == "href":
                self.links.append(value or "")
            elif name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href", "background"):
                self.loaded.append(value or "")


def test_the_page_needs_nothing_else(page: Page) -> None:
    found = References(page.text)
    assert found.loaded
    assert all(reference.startswith("data:") for reference in found.loaded)
    assert found.tags.isdisjoint({"iframe", "object", "embed", "base", "form"})
    assert set(found.links) == {"https://nihcc.app.box.com/v/ChestXray-NIHCC"}
    assert "url(" not in page.text
    assert "@import" not in page.text
    assert "default-src 'none'" in page.text  # and no browser would load it


def test_all_strengths_and_their_figures_are_in_the_page(page: Page) -> None:
    _, reconstruction, *edits = page.states
    assert [edit["strength"] for edit in edits] == STRENGTHS
    assert [edit["label"] for edit in edits] == ["\u22129", "\u22124.5", "0", "+4.5", "+9"]
    told = [page.document["original"], page.document["reconstruction"], *page.document["edits"]]
    for state, figures in zip(page.states, told, strict=True):
        assert state["figures"] == {name: figures[name] for name in FIGURES}
        assert state["problem"] == figures["problem"]
    ratios = [edit["figures"]["ctr"] for edit in edits]
    assert ratios[-1] > ratios[0] + 0.03
    assert edits[2]["image"] == reconstruction["image"]  # strength 0
    assert edits[2]["mean_change"] == 0


def test_what_is_shown_is_what_was_measured(page: Page) -> None:
    pixels = [np.asarray(picture(state["image"]), dtype=np.float32) / 255 for state in page.states]
    film = fit_square(read_radiograph(BUNDLED_RADIOGRAPH).pixels, 128)
    assert np.abs(pixels[0] - film).max() <= 0.51 / 255
    anatomy = measure_images(load_anatomy(), torch.from_numpy(np.stack(pixels))[:, None])
    for index, state in enumerate(page.states):
        for name in ("ctr", "heart_area", "thorax_width"):  # rounded to eight bits, an edge may move by a pixel
            assert state["figures"][name] == pytest.approx(getattr(anatomy, name)[index], abs=0.01)
    limit = float(re.search(r"brighter \+([\d.]+)", page.text)[1]) / 100
    for state, shown in zip(page.states[2:], pixels[2:], strict=True):
        colours = np.asarray(picture(state["change"]).convert("RGB"), dtype=int)
        expected = diverging_colours(shown - pixels[1], limit).astype(int)
        assert np.abs(colours - expected).mean() < 3
        assert state["mean_change"] == pytest.approx(np.abs(shown - pixels[1]).mean(), abs=0.002)


def test_the_page_and_its_pictures_say_what_they_are(page: Page) -> None:
    model = load_model(BUNDLED, parts=("generator",))
    words = (
        model.fingerprint,
        "Not for diagnosis",
        "NIH Clinical Center",
        "10 steps",
        "cxredit ",
        "5 from \u22129 to +9",
    )
    for text in (*words, "held out of the model&#39;s training", f"PSNR {page.document['psnr']:.1f} dB"):
        assert text in page.text
    for edit in page.states[2:]:
        info = picture(edit["image"]).info
        assert "Edited chest X-ray" in info["Description"]
        assert info["Disclaimer"] == "For research and education, not for diagnosis"
    assert "Edited" not in str(picture(page.states[0]["image"]).info)


def test_the_bundled_patient_is_held_out_of_training() -> None:
    patient = str(int(BUNDLED_RADIOGRAPH.name.partition("_")[0]))
    data = load_model(BUNDLED, parts=("generator",)).info["data"]
    assert split_of(patient, data["val_fraction"], data["split_seed"]) == "val"


def test_any_image_and_model(tiny: Path, data: Path) -> None:
    result = demo(data / "nih" / SCAN, "--sweep", "2:-1:4", "--steps", 3, "--space", "w+", "--fit-noise", "--batch", 3)
    assert result.exit_code == 0, result.output
    text = Path("demo.html").read_text()
    states = read_states(text)
    assert [state["strength"] for state in states[2:]] == [-1, 0, 1, 2]
    assert picture(states[0]["image"]).size == (32, 32)
    assert SCAN in text
    assert "optimize, W+, 3 steps, the noise maps fitted too" in text
    assert "NIH Clinical Center" not in text  # another's image and model
    assert "demo.html" in result.stdout


def test_nothing_of_a_dicoms_patient_is_in_the_page(tiny: Path, data: Path) -> None:
    dataset = pydicom.dcmread(data / "dicom" / "jpeg_baseline.dcm")
    dataset.PatientName, dataset.PatientID, dataset.InstitutionName = "Roe^Richarda", "MRN-778899", "St Elsewhere"
    dataset.save_as("scan.dcm")
    assert demo("scan.dcm", "--sweep", "0:1:2", "--steps", 2).exit_code == 0
    text = Path("demo.html").read_text()
    for secret in ("Roe", "778899", "Elsewhere"):
        assert secret not in text.replace(" ", "")


def test_names_are_text(tiny: Path, data: Path) -> None:
    shutil.copy(data / "nih" / SCAN, "a<b>&'c\".png")
    result = demo("a<b>&'c\".png", "--sweep", "0:1:2", "--steps", 2)
    assert result.exit_code == 0, result.output
    text = Path("demo.html").read_text()
    assert "<b>" not in text
    assert "a&lt;b&gt;&amp;&#39;c" in text


def test_opened_on_request(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert demo("--sweep", "0:1:2", "--steps", 2, "-o", "a.html").exit_code == 0
    assert opened == []
    assert demo("--sweep", "0:1:2", "--steps", 2, "-o", "b.html", "--open").exit_code == 0
    assert opened == [(tiny / "b.html").as_uri()]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere.png",), "does not exist"),
        (("note.png",), "it is no DICOM file"),
        (("--sweep", "3"), "FROM:TO:COUNT"),
        (("--fit", "stretch"), "--fit must be"),
        (("--method", "encoder"), "needs an encoder"),
    ],
)
def test_mistakes_are_one_sentence(tiny: Path, arguments: tuple[str, ...], words: str) -> None:
    Path("note.png").write_text("no image")
    result = demo(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert not Path("demo.html").exists()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium; skipped where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver")
    programs = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    chromium, driver = next(programs, None), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no Chromium with its chromedriver here")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *(f"--user-data-dir={profile}", "--window-size=1280,900"),
        ):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        chrome.set_page_load_timeout(60)
        yield chrome
        chrome.quit()


@dataclass(frozen=True)
class Seen:
    """What a reader sees at one position of the slider."""

    image: str
    ratio: str
    strength: str
    marker: tuple[float, float]
    row: list[str]  # of the cardiothoracic ratio
    spoken: str  # by a screen reader


def look(chrome: Any) -> Seen:
    def text(selector: str) -> str:
        return chrome.find_element("css selector", selector).text

    place = chrome.execute_script(
        "const box = document.getElementById('marker').getBoundingClientRect();"
        "return [box.x + box.width / 2, box.y + box.height / 2]"
    )
    image = chrome.find_element("id", "right-image")
    assert chrome.execute_script("return arguments[0].decode().then(() => arguments[0].naturalWidth)", image) > 0
    row = [cell.text for cell in chrome.find_elements("css selector", "tr[data-figure=ctr] td")]
    return Seen(
        image=image.get_attribute("src"),
        ratio=text("#ctr"),
        strength=text("#strength-now"),
        marker=(place[0], place[1]),
        row=row,
        spoken=chrome.find_element("id", "strength").get_attribute("aria-valuetext"),
    )


def test_the_slider_in_a_browser(page: Page, browser: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.get(page.path.as_uri())
    slider = browser.find_element("id", "strength")
    original, reconstruction, *edits = page.states
    browser.find_element("css selector", "input[value=edited]").click()
    slider.send_keys(Keys.HOME)
    seen = [look(browser)]
    for _ in edits[1:]:
        slider.send_keys(Keys.ARROW_RIGHT)
        seen.append(look(browser))
    for edit, shown in zip(edits, seen, strict=True):
        ratio = f"{edit['figures']['ctr']:.3f}"
        assert shown.image == edit["image"]
        assert (shown.ratio, shown.strength) == (ratio, edit["label"])
        assert shown.row[:3] == [f"{state['figures']['ctr']:.3f}" for state in (original, reconstruction, edit)]
        assert shown.spoken == f"strength {edit['label']}, cardiothoracic ratio {ratio}"
    places = [shown.marker for shown in seen]
    assert all(before[0] < after[0] for before, after in pairwise(places))
    higher = [places[0][1] > place[1] for place in places[1:]]
    assert higher == [edit["figures"]["ctr"] > edits[0]["figures"]["ctr"] for edit in edits[1:]]
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert browser.get_log("browser") == []


def test_the_film_and_its_edits_in_a_browser(page: Page, browser: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.get(page.path.as_uri())
    slider, patch = (browser.find_element("id", name) for name in ("strength", "right-patch"))
    original, _, *edits = page.states
    assert browser.find_element("id", "left-image").get_attribute("src") == original["film"]
    slider.send_keys(Keys.HOME)
    for edit in edits:
        tag, image = (browser.find_element("id", f"right-{name}") for name in ("tag", "image"))
        if edit["refused"]:
            assert edit["refused"] in tag.text
            assert image.get_attribute("src") == edit["image"]
        else:
            assert image.get_attribute("src") == original["film"]
            assert patch.is_displayed() == (edit["patch"] is not None)
            assert f"{edit['film_ctr']:.3f}" in tag.text
        slider.send_keys(Keys.ARROW_RIGHT)
    # The wheel enlarges both pictures around the place under it; a double click undoes it.
    browser.execute_script(
        "const box = document.querySelectorAll('.picture')[1], r = box.getBoundingClientRect();"
        "box.dispatchEvent(new WheelEvent('wheel', {deltaY: -280, clientX: r.left + r.width / 2,"
        " clientY: r.top + r.height / 2, cancelable: true}));"
    )
    transform = "return getComputedStyle(document.getElementById(arguments[0])).transform"
    left, right = (browser.execute_script(transform, f"{side}-image") for side in ("left", "right"))
    assert left == right
    assert float(left.split("(")[1].split(",")[0]) == pytest.approx(np.exp(0.7), abs=0.01)
    browser.execute_script("document.querySelectorAll('.picture')[0].dispatchEvent(new MouseEvent('dblclick'))")
    assert browser.execute_script(transform, "left-image") == "none"
    assert browser.get_log("browser") == []


def test_the_edits_of_the_film_lie_where_the_page_puts_them(page: Page) -> None:
    original, _, *edits = page.states
    film = np.asarray(picture(original["film"])).astype(int)
    side = len(film)
    assert np.asarray(Image.open(BUNDLED_RADIOGRAPH)).shape == film.shape
    assert edits[2]["strength"] == 0
    assert edits[2]["patch"] is None
    patches = [edit["patch"] for edit in edits if edit["patch"] is not None]
    assert patches
    for patch in patches:
        left, top, width, height = (round(patch[name] * side / 100) for name in ("left", "top", "width", "height"))
        part = np.asarray(picture(patch["image"])).astype(int)
        assert part.shape == (height, width)
        assert "a real one" in picture(patch["image"]).info["Description"]
        changed = np.abs(part - film[top : top + height, left : left + width])
        assert changed.max() > 5
        assert (changed[[0, -1]].mean(), changed[:, [0, -1]].mean()) < (5, 5)


def test_outlines_differences_and_play_in_a_browser(page: Page, browser: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.get(page.path.as_uri())
    browser.find_element("id", "strength").send_keys(Keys.END)
    last = page.states[-1]

    heart = browser.find_element("id", "right-heart")
    assert heart.is_displayed()
    assert heart.get_attribute("d") == last["outlines" if last["refused"] else "film_outlines"]["heart"]
    browser.find_element("css selector", "input[value=edited]").click()
    assert heart.get_attribute("d") == last["outlines"]["heart"]
    browser.find_element("id", "outlines").click()
    assert not heart.is_displayed()
    assert not browser.find_element("id", "left-heart").is_displayed()

    scale, image = browser.find_element("id", "scale"), browser.find_element("id", "right-image")
    assert not scale.is_displayed()
    browser.find_element("css selector", "input[value=change]").click()
    assert image.get_attribute("src") == last["change"]
    assert scale.is_displayed()
    browser.find_element("css selector", "input[value=edited]").click()
    assert image.get_attribute("src") == last["image"]
    browser.find_element("css selector", "input[value=reconstruction]").click()
    assert browser.find_element("id", "left-image").get_attribute("src") == page.states[1]["image"]

    play = browser.find_element("id", "play")
    before = look(browser)
    play.click()
    browser.execute_async_script("setTimeout(arguments[0], 1500)")  # at the end it rests, and turns
    assert look(browser).strength != before.strength
    play.click()
    assert play.get_attribute("aria-pressed") == "false"
    assert browser.get_log("browser") == []


def test_what_cannot_be_measured_is_shown_as_unknown(tiny: Path, browser: Any) -> None:
    path = tiny / "demo.html"
    assert demo("--sweep", "-1:1:3", "--steps", 2).exit_code == 0
    browser.get(path.as_uri())
    edit = read_states(path.read_text())[3]
    assert edit["problem"]  # a random model makes no chests
    browser.execute_script(
        "const s = document.getElementById('strength'); s.value = 1; s.dispatchEvent(new Event('input'))"
    )
    assert edit["problem"] in browser.find_element("id", "problem").text
    ratio = edit["figures"]["ctr"]
    assert browser.find_element("id", "ctr").text == ("\u2013" if ratio is None else f"{ratio:.3f}")
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_is_wider_than_the_window(page: Page, browser: Any, width: int) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        browser.get(page.path.as_uri())
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
