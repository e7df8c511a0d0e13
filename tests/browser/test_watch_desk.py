from __future__ import annotations

import re
from typing import Any

import pytest

from tests.browser.conftest import Page
from tests.console.world import HOUR, NOW, World, alert, lead, morning

pytestmark = pytest.mark.browser


def choose(page: Any, person: str) -> None:
    page.wait_for_selector(f"#person option[value={person}]", state="attached")
    page.select_option("#person", person)


def test_a_first_alert_arrives_live_without_reload(world: World, desk_page: Page) -> None:
    page = desk_page.open()
    page.wait_for_selector("text=没有符合条件的告警")
    page.evaluate("window.here = true")
    world.judged(alert(1))
    page.wait_for_selector("#queue [role=option] >> text=二氧化硫小时折算均值 83.4")
    assert page.inner_text(".count.unhandled b") == "1"
    assert page.evaluate("window.here")


def test_new_alerts_wait_above_the_list_and_never_move_it(world: World, desk_page: Page) -> None:
    morning(world)
    page = desk_page.open()
    page.wait_for_selector("#queue [role=option]")
    page.evaluate("document.getElementById('queue').scrollTop = 300")
    before = page.inner_text("#queue [aria-posinset='10']")
    world.judged(*[alert(k, reason_zh=f"新告警 {k}") for k in range(100, 104)])
    page.wait_for_selector("text=有 4 条新告警")
    assert page.evaluate("document.getElementById('queue').scrollTop") == 300
    assert page.inner_text("#queue [aria-posinset='10']").splitlines()[0] == before.splitlines()[0]
    page.click("#fresh")
    page.wait_for_selector("#queue [aria-setsize='64']")
    page.evaluate("document.getElementById('queue').scrollTop = 0")
    page.wait_for_selector("#queue [aria-posinset='1'] >> text=新告警 103")


def test_detail_shows_the_reason_the_limit_and_a_table(world: World, desk_page: Page) -> None:
    body = alert(1)
    world.judged(body)
    page = desk_page.open(f"#view=alerts&sel=alert/{body['id']}")
    page.wait_for_selector(".sentence >> text=已连续 2 小时")
    page.wait_for_selector(".plot canvas")
    assert page.inner_text(".strip.main .legend.limit").split() == ["限值", "50"]
    assert "无效数据" in page.inner_text(".strip.main .strip-head")
    assert "限值 50 mg/m³，超过 3 次" in page.inner_text(".chart")
    page.click("text=数据表")
    assert page.locator("tr.inside").count() == 3
    assert page.locator("td.over").count() == 3
    assert "维护 M · 无效数据" in page.inner_text(".scroll")
    page.wait_for_selector(".strip >> text=烟气温度")
    assert page.locator(".strip").count() == 6, "companions of the point have their own strips"


def test_a_long_episode_is_drawn_as_mean_and_band(world: World, desk_page: Page) -> None:
    body = alert(1, opened_ms=NOW - 200 * 24 * HOUR) | {"updated": alert(1)["updated"]}
    world.judged(body)
    page = desk_page.open(f"#view=alerts&sel=alert/{body['id']}")
    page.wait_for_selector(".plot canvas")
    assert "分钟一段绘制" in page.inner_text(".chart")
    assert re.search(r"\d\s*\([\d.]+–[\d.]+\)", page.inner_text(".strip.main .strip-head"))
    page.click("text=数据表")
    assert "–" in page.inner_text(".scroll tbody tr:first-child td.right")


def test_the_limit_is_inside_the_chart_even_when_all_values_are_far_below(desk_page: Page) -> None:
    page = desk_page.open()
    ranged = page.evaluate("import('/web/chart-marks.js').then((m) => m.range([{value: [1, 2, 3]}], [500, null]))")
    assert ranged[1] > 500
    assert ranged[0] <= 1


def test_acknowledge_by_keyboard(world: World, desk_page: Page) -> None:
    world.judged(alert(1), alert(2, reason_zh="第二条"))
    page = desk_page.open()
    choose(page, "zhang")
    page.focus("#queue")
    page.keyboard.press("ArrowDown")
    page.wait_for_selector("[data-step=ack]")
    page.keyboard.press("Alt+KeyK")
    page.wait_for_selector("text=确认完成")
    page.wait_for_selector(".row.chosen >> text=已确认")
    assert world.desk.counts()["unhandled"] == 1
    page.wait_for_selector(".ledger >> text=张值班")


def test_nobody_chosen_is_told_what_to_do(world: World, desk_page: Page) -> None:
    world.judged(alert(1))
    page = desk_page.open()
    page.click("#queue [role=option]")
    page.wait_for_selector(".thing >> text=请先在页眉选择值守人员")


def test_shelving_asks_for_a_reason_and_a_refusal_stays_on_screen(world: World, desk_page: Page) -> None:
    world.judged(alert(1))
    page = desk_page.open()
    choose(page, "zhang")
    page.click("#queue [role=option]")
    page.wait_for_selector("[data-step=shelve]")
    page.keyboard.press("Alt+KeyX")
    page.select_option("#f-reason", "other")
    page.click("dialog [type=submit]")
    page.wait_for_selector("dialog .fault >> text=needs an explanation")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    page.keyboard.press("Alt+KeyS")
    page.select_option("#f-until", "24")
    page.fill("#f-reason", "检修班组已在现场")
    page.click("dialog [type=submit]")
    page.wait_for_selector(".kicker >> text=已搁置")
    assert world.desk.alerts()[0]["state"] == "shelved"


def test_from_a_lead_to_a_closed_case_through_buttons(world: World, desk_page: Page) -> None:
    body = alert(1)
    world.judged(body, lead(1, [body["id"]]))
    page = desk_page.open()
    choose(page, "zhang")
    page.click("#queue [role=option]")
    page.wait_for_selector("section >> text=两类证据相互印证")
    page.keyboard.press("Alt+KeyJ")
    page.wait_for_selector(".thing >> text=法条（按行为日）")
    page.click("[data-step=open_case]")
    page.wait_for_selector(".thing h2 >> text=案-2026-000001")
    page.click("[data-step=dispatch]")
    page.select_option("#f-assignee", "wang")
    page.click("dialog [type=submit]")
    page.wait_for_selector(".kicker >> text=待核查")
    assert page.locator("[data-step=verify]").count() == 0, "an operator does not report the check"
    choose(page, "wang")
    page.click("[data-step=verify]")
    page.select_option("#f-verdict", "属实")
    page.fill("#f-finding", "除尘器停运 47 分钟，台账无记录。")
    page.click("dialog [type=submit]")
    page.wait_for_selector(".kicker >> text=已核查")
    choose(page, "li")
    page.click("[data-step=close]")
    page.fill("#f-conclusion", "移交立案")
    page.click("dialog [type=submit]")
    page.wait_for_selector(".kicker >> text=已办结")
    assert "除尘器停运" in page.inner_text(".thing")
    case = world.desk.case("案-2026-000001")
    assert case is not None
    assert (case["state"], case["verdict"], len(case["events"])) == ("closed", "属实", 4)


def test_nothing_is_loaded_from_elsewhere(world: World, desk_page: Page) -> None:
    morning(world)
    page = desk_page.open()
    page.click("#queue [role=option]")
    page.wait_for_selector(".plot canvas")
    for view in ("leads", "cases", "devices", "books"):
        page.click(f".views a[href='#view={view}']")
        page.wait_for_timeout(100)
    assert desk_page.requests
    assert [url for url in desk_page.requests if not url.startswith(desk_page.address)] == []


def test_eight_tabs_share_one_connection(world: World, desk_page: Page) -> None:
    desk_page.open()
    tabs = [desk_page.tab() for _ in range(7)]
    for tab in tabs:
        tab.goto(desk_page.address)
        tab.wait_for_selector(".link.live")
    world.judged(alert(1))
    for tab in tabs:
        tab.wait_for_selector("#queue [role=option]")


def test_paused_pages_hold_changes_until_resumed(world: World, desk_page: Page) -> None:
    world.judged(alert(1))
    page = desk_page.open()
    page.wait_for_selector("#queue [role=option]")
    page.keyboard.press("Alt+KeyL")
    world.judged(alert(2))
    page.wait_for_timeout(800)
    assert page.locator("#fresh").count() == 0
    page.keyboard.press("Alt+KeyL")
    page.wait_for_selector("text=有 1 条新告警")


def test_both_languages_and_every_word_is_translated(world: World, desk_page: Page) -> None:
    morning(world)
    page = desk_page.open()
    page.click("#queue [role=option]")
    page.click("text=EN")
    page.wait_for_selector("h1 >> text=Watch desk")
    assert page.get_attribute("html", "lang") == "en"
    page.wait_for_selector(".thing >> text=Observed")
    shown = page.inner_text("body")
    for word in ("告警", "超时", "限值", "未处理"):
        assert word not in shown


def test_unhandled_count_leads_to_exactly_its_rows(world: World, desk_page: Page) -> None:
    morning(world)
    world.judged(alert(500, folded="common outage"))
    page = desk_page.open("#view=leads")
    page.click(".count.unhandled")
    page.wait_for_selector("#queue [role=option]")
    assert page.get_attribute("#queue [role=option]", "aria-setsize") == page.inner_text(".count.unhandled b") == "60"
    page.click(".count.overdue")
    count = page.inner_text(".count.overdue b")
    page.wait_for_selector(f"#queue [aria-setsize='{count}']")


def test_a_case_shows_what_other_departments_know_of_its_site(world: World, desk_page: Page) -> None:
    first = alert(1)
    world.judged(first, lead(1, [first["id"]]))
    case = world.desk.open_case(world.desk.leads()[0]["id"], "zhang")
    page = desk_page.open(f"#view=cases&sel=case/{case['id']}")
    page.wait_for_selector(".departments")
    rows = page.locator(".departments tbody tr").all_inner_texts()
    assert [row.split("\t")[:4] for row in rows] == [
        ["2026-09-15", "处罚", "示环罚〔2026〕7号", "超标排放 · 120,000 元"],
        ["2026-03-02", "检查", "", "未见异常"],
    ], "the newest first"
    assert "区市场监管局" in rows[1], "its department stands for an authority that was not told"
    assert "来源 checks，第 4 行，SHA-256 abab" in page.locator(".departments tbody tr").first.get_attribute("title")
    assert "industry：permits 为 4411；另有 4417 (checks)" in page.inner_text(".departments .links")
    page.goto(f"{desk_page.address}/#view=leads&sel=lead/{world.desk.leads()[0]['id']}")
    page.wait_for_selector(".departments")


def test_an_alarm_of_the_platform_about_itself_stands_over_every_view(world: World, desk_page: Page) -> None:
    world.conditions = [
        {"id": "partition-dead", "subject": "7", "severity": "critical", "since": NOW - HOUR}
        | {
            "zh": "分区 7 无人研判",
            "en": "Partition 7 is judged by nobody",
            "remedy_zh": "启动研判进程",
            "remedy_en": "start a worker",
        }
    ]
    page = desk_page.open()
    page.wait_for_selector(".banner[role=alert] >> text=分区 7 无人研判 — 启动研判进程")
    page.goto(f"{desk_page.address}/#view=books")
    page.wait_for_selector(".banner[role=alert] >> text=分区 7 无人研判")
    world.conditions = []
    page.reload()
    page.wait_for_selector(".link.live")
    page.wait_for_timeout(300)
    assert page.locator(".banner").count() == 0


def test_ten_thousand_rows_stay_a_small_page(world: World, desk_page: Page) -> None:
    world.judged(*[alert(k, opened_ms=NOW - k * 1000) for k in range(1200)])
    page = desk_page.open()
    page.wait_for_selector("#queue [role=option]")
    page.focus("#queue")
    for size in (400, 600, 800, 1000, 1200):
        page.keyboard.press("End")
        page.wait_for_selector(f"#queue [aria-setsize='{size}']")
    assert page.locator("#queue [role=option]").count() < 80


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_accessible(world: World, desk_page: Page, theme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    morning(world)
    page = desk_page.open()
    page.evaluate(f"localStorage.setItem('theme', '{theme}')")
    case = world.desk.open_case(world.desk.leads()[0]["id"], "zhang")
    places = [
        "#view=alerts",
        f"#view=leads&sel=lead/{world.desk.leads()[0]['id']}",
        f"#view=cases&sel=case/{case['id']}",
        "#view=devices",
        "#view=books",
    ]
    for place in places:
        page.goto(f"{desk_page.address}/{place}")
        page.reload()
        page.wait_for_selector(".link.live")
        if place == "#view=alerts":
            page.click("#queue [role=option]")
            page.wait_for_selector(".plot canvas")
        page.wait_for_timeout(200)
        found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]})
        assert found.violations_count == 0, f"{place} {theme}\n{found.generate_report()}"
