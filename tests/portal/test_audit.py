"""Every write leaves a line in the audit log."""

from contextlib import closing
from datetime import UTC, datetime

from netwarden.sources.connect import open_portal_store
from netwarden.sources.portal_store import AuditLine, line_id


def test_the_page_and_the_api_show_the_same_lines(empty_portal):
    now = datetime.now(UTC)
    line = AuditLine(line_id(now), now, "ada", "admin", "192.0.2.7", "promote", "bundle abc", "<b>better</b>")
    with closing(open_portal_store(empty_portal.settings)) as store:
        store.append(line)
    answer = empty_portal.client.get("/api/v1/audit").json()
    assert [(each["who"], each["action"], each["object"]) for each in answer["lines"]] == [
        ("ada", "promote", "bundle abc")
    ]
    text = empty_portal.client.get("/audit?who=ada").text
    assert "&lt;b&gt;better" in text
    assert "No line of that kind" in empty_portal.client.get("/audit?who=eve").text


def test_an_audit_log_without_lines_says_what_will_be_there(empty_portal):
    assert "each leave a line" in empty_portal.client.get("/audit").text
    assert empty_portal.client.get("/api/v1/audit?limit=0").status_code == 422
