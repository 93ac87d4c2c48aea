"""The page in a real browser, Debian's Chromium: what is put in comes out, drawn, with keyboard and mouse."""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import tiny

import seqtrain

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("selenium")
import uvicorn
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from seqtrain.commands.serve import listening, names
from seqtrain.serving.answers import Answers
from seqtrain.serving.api import make_app

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="there is no chromium with chromedriver here")
SETTINGS = {"body": 1, "length": 300, "batch": 4, "queue": 8, "time": 20.0}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    profile = tmp_path_factory.mktemp("profile")
    for flag in (
        "headless=new",
        "no-sandbox",
        "disable-dev-shm-usage",
        "window-size=1000,1400",
        f"user-data-dir={profile}",
    ):
        options.add_argument(f"--{flag}")
    options.binary_location = str(CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@contextmanager
def page(browser: Any, model: Any) -> Iterator[str]:
    """The page of a model, open in the browser. In the end nothing in it has failed, or come from elsewhere."""
    with listening("127.0.0.1", 0) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        app = make_app(Answers(model), SETTINGS, names("127.0.0.1"))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            for log in ("browser", "performance"):
                browser.get_log(log)  # of the page before
            browser.get(address)
            wait(browser, lambda: found(browser, "#input > *"))
            yield address
            assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
            events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
            asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
            assert [url for url in asked if not url.startswith((address, "blob:", "data:", "chrome"))] == []
        finally:
            browser.get("about:blank")
            server.should_exit = True
            thread.join()


def wait(browser: Any, condition: Any) -> Any:
    return WebDriverWait(browser, 20).until(lambda _: condition())


def found(browser: Any, selector: str) -> list[Any]:
    return browser.find_elements(By.CSS_SELECTOR, selector)


def answer(browser: Any, selector: str) -> list[Any]:
    """The elements of an answer, when it is whole."""
    wait(browser, lambda: found(browser, "#answer:not([hidden]):not(.busy), #problem:not([hidden])"))
    wait(browser, lambda: found(browser, "#send:enabled"))
    return found(browser, f"#answer {selector}")


def put(browser: Any, text: str) -> None:
    """Writes into the field, and sends it without a mouse."""
    field = found(browser, "textarea")[0]
    browser.execute_script("arguments[0].value = arguments[1]", field, text)
    field.send_keys(Keys.CONTROL, Keys.ENTER)


def test_attention_is_drawn_at_the_word_that_is_pointed_at(browser, runs):
    model = seqtrain.load(runs["translation"])
    with page(browser, model):
        put(browser, "May 3, 2021")
        items = answer(browser, ".targets .item")
        assert "".join(item.text for item in items[:-1]) == model.predict("May 3, 2021").strip()
        assert not found(browser, "#answer path")
        ActionChains(browser).move_to_element(items[0]).perform()
        drawn = [line.get_attribute("d") for line in wait(browser, lambda: found(browser, "#answer path"))]
        items[0].send_keys(Keys.ARROW_RIGHT)
        assert browser.switch_to.active_element == items[1]
        assert [line.get_attribute("d") for line in found(browser, "#answer path")] != drawn


def test_a_label_with_its_probabilities(browser, runs):
    model = seqtrain.load(runs["sentiment"])
    with page(browser, model):
        put(browser, "not good")
        shown = [cell.text for cell in answer(browser, ".number")]
        scores = model.predict("not good", details=True)["scores"]
        assert shown == [f"{100 * share:.1f} %" for share in sorted(scores.values(), reverse=True)]


def test_what_a_model_writes_is_text(browser, runs):
    with page(browser, seqtrain.load(runs["generation"])):
        put(browser, "<img src=x onerror=alert(1)>")
        assert answer(browser, ".text")[0].text.startswith("<img src=x onerror=alert(1)>")
        assert not found(browser, "#answer img")


def test_tags_under_words(browser, runs):
    model = seqtrain.load(runs["tagging"])
    with page(browser, model):
        tokens = ["def", "f", "(", "x", ")", ":"]
        put(browser, " ".join(tokens))
        words = [word.text.split("\n") for word in answer(browser, ".tags > span")]
        tags = ["" if tag == "O" else tag for tag in model.predict(" ".join(tokens))]
        assert [[token, tag] if tag else [token] for token, tag in zip(tokens, tags, strict=True)] == words


def test_a_forecast_of_a_csv_file_as_a_plot(browser, runs, tmp_path):
    model = seqtrain.load(runs["forecasting"])
    rows = [f"{np.datetime64('2001-01-06') + 7 * i},{300 + i}" for i in range(16)]
    (tmp_path / "table.csv").write_text("\n".join(["date,co2", *rows]))
    with page(browser, model):
        found(browser, "input[type=file]")[0].send_keys(str(tmp_path / "table.csv"))
        wait(browser, lambda: found(browser, "textarea")[0].get_property("value"))
        found(browser, "#send")[0].click()
        marks = answer(browser, ".plot .mark title")
        wanted = model.answers(["date,co2", *rows])
        assert len(marks) == len(wanted) == 4
        assert marks[0].get_property("textContent") == f"{wanted[0]['date']}: {wanted[0]['co2']}"


def test_music_is_written_shown_and_heard(browser, runs):
    with page(browser, seqtrain.load(runs["music"])):
        put(browser, "C4+E4 D4")
        assert answer(browser, "canvas")[0].accessible_name.startswith("A piano roll of 98 frames")
        player = wait(browser, lambda: found(browser, "#answer audio"))[0]
        wait(browser, lambda: (player.get_property("duration") or 0) > 1)


def test_what_is_written_with_the_mouse(browser, tmp_path):
    with tiny.no_figures():
        tiny.train(tmp_path / "run", "handwriting")
    with page(browser, seqtrain.load(tmp_path / "run")):
        pad = found(browser, ".pad")[0]
        for x in (-60, 60):
            strokes = ActionChains(browser, duration=5).move_to_element_with_offset(pad, x, -50).click_and_hold()
            strokes.move_to_element_with_offset(pad, x + 5, 0).move_to_element_with_offset(
                pad, x, 50
            ).release().perform()
        found(browser, "#send")[0].click()
        assert answer(browser, ".text")
        assert not found(browser, "#problem:not([hidden])")


def test_an_error_is_shown_and_nothing_else_is_lost(browser, runs):
    with page(browser, seqtrain.load(runs["sentiment"])):
        put(browser, "")
        assert found(browser, "#problem")[0].text == "There is nothing to answer yet."
        put(browser, "good")
        assert answer(browser, ".number")
        assert not found(browser, "#problem:not([hidden])")


def test_the_description_of_the_api(browser, runs):
    with page(browser, seqtrain.load(runs["sentiment"])) as address:
        browser.get(f"{address}docs.html")
        titles = wait(browser, lambda: found(browser, "h2"))
        assert "POST /api/predict" in [title.text for title in titles]
