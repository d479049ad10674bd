"""What `elara doctor --json` prints."""
import json


def findings_of(done):
    """{check: [finding, ...]} of a run that has ended; each that is no `ok` says what helps."""
    assert done.stderr == "", done.stderr
    report = json.loads(done.stdout)
    findings = {}
    for finding in report["checks"]:
        assert finding["state"] == "ok" or finding["fix"], finding
        findings.setdefault(finding["check"], []).append(finding)
    assert report["failed"] == sum(each["state"] == "fail" for each in report["checks"])
    assert done.returncode == (1 if report["failed"] else 0)
    return findings
