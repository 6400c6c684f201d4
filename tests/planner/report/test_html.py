"""The page: whole, offline, deterministic, valid enough to check, and safe with hostile names."""

import copy
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.report import html
from planner.report.numbers import clean

VOID = {"meta", "br", "link", "img", "input"}
TAGS = set(
    [
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "main",
        "h1",
        "h2",
        "p",
        "section",
        "figure",
        "details",
        "summary",
        "pre",
        "article",
        "div",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "span",
        "i",
        "svg",
        "g",
        "defs",
        "path",
        "use",
        "text",
        "clippath",
        "rect",
    ]
)


class Page(HTMLParser):
    """Checks that elements nest, and collects tags, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.said: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(key, value or "") for key, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(key, value or "") for key, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag in ("td", "th"):
            self.said.append(" ")

    def handle_data(self, data: str) -> None:
        self.said.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.said).split())


@pytest.fixture
def no_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "figures", lambda plan, prefix: {})


def _replaced(value: Any, text: str) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(member, text) for key, member in value.items()}
    if isinstance(value, list):
        return [_replaced(member, text) for member in value]
    return text if isinstance(value, str) else value


def _safe(page: Page) -> None:
    assert page.tags <= TAGS
    assert not any(key.startswith("on") for key, _ in page.attributes)
    for key, value in page.attributes:
        if key in ("href", "src", "xlink:href", "action"):
            assert value.startswith("#"), value


def test_the_page_is_whole_offline_and_small(plan: dict[str, Any]) -> None:
    text = html.render(plan)
    page = Page(text)
    _safe(page)
    assert text.startswith("<!doctype html>")
    assert len(text.encode()) < 1_000_000
    assert page.text.count("llama-3.1-70b") >= 2
    ids = [value for key, value in page.attributes if key == "id"]
    assert len(ids) == len(set(ids))
    addresses = set(re.findall(r"https?://[^\"'<> ]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "prefers-color-scheme: dark" in text
    assert "default-src 'none'" in text
    assert text.count("<svg") == 4


def test_it_says_more_than_the_terminal(plan: dict[str, Any]) -> None:
    told = Page(html.render(plan)).text
    for words in (
        "821 tokens/s per device",
        "roofline.matmul_s; efficiency fitted",
        "tp 4 x dp 64 (2.1% slower)",
        "peak_flop_per_s.bf16 989 TFLOP/s datasheet NVIDIA H100 datasheet, 2023",
        "tp divides heads 1,204",
        "pipeline bubble +580 ms, tensor-parallel all-gather and reduce-scatter -410 ms",
        "state 1.13 TB, memory 85.0 GB",
        "Made by Sixfold 0.1.0.",
        "The job as planned",
    ):
        assert words in told, words


def test_the_same_plan_is_the_same_page(plan: dict[str, Any]) -> None:
    assert html.render(plan) == html.render(copy.deepcopy(plan))


def test_parts_keep_their_charts_apart(plan: dict[str, Any]) -> None:
    page = Page(html.render({"job": {"name": "both"}, "parts": [plan, plan]}))
    _safe(page)
    ids = [value for key, value in page.attributes if key == "id"]
    assert len(ids) == len(set(ids))


@pytest.mark.usefixtures("no_charts")
def test_a_bare_plan_is_a_page() -> None:
    _safe(Page(html.render({})))


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "</svg></style></pre>{{7*7}}{% raw %}",
        "$\\frac{a$ &lt; \x00\x1b[2J\u202e\ud800",
    ],
)
def test_hostile_names_are_text_in_tables_and_charts(plan: dict[str, Any], name: str) -> None:
    hostile = _replaced(plan, name)
    hostile["patterns"][0]["fit"] = name
    page = Page(html.render(hostile))
    _safe(page)
    assert " ".join(clean(name).split()) in page.text


@pytest.mark.usefixtures("no_charts")
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.sampled_from(["<", ">", '"', "'", "&", "{{", "}}", "{%", "script", "=", "on", "\x0b"])
        | st.text(max_size=3),
        min_size=1,
    ).map("".join)
)
def test_any_name_comes_out_escaped(plan: dict[str, Any], name: str) -> None:
    hostile = _replaced(plan, name)
    hostile["design"][name] = {"choice": name, "because": name, "alternatives": [name]}
    page = Page(html.render(hostile))
    _safe(page)
    assert " ".join(clean(name).split()) in page.text


@pytest.mark.usefixtures("no_charts")
def test_the_job_in_the_page_is_the_job(plan: dict[str, Any]) -> None:
    told = re.search(r"<pre>(.*?)</pre>", html.render(plan), re.DOTALL)
    assert told is not None
    page = Page(f"<pre>{told.group(1)}</pre>")
    assert json.loads("".join(page.said)) == plan["job"]
