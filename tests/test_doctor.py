"""What `pairfld doctor` says of a machine with all it needs, and of one without."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pair_fld import doctor
from tests.cli.command import pairfld


def test_a_set_up_machine_lacks_nothing() -> None:
    done = pairfld("doctor", "--json")
    findings = {finding["subject"]: finding for finding in json.loads(done.out)}
    assert done.code == 0
    assert findings["torch"]["state"] == findings["shipped model"]["state"] == "good"
    assert all(finding["remedy"] for finding in findings.values() if finding["state"] in ("missing", "optional"))


def test_a_missing_package_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    there = doctor.installed_version

    def version(package: str) -> str | None:
        return {"onnxruntime": None, "numpy": "1.26.4"}.get(package, there(package))

    monkeypatch.setattr(doctor, "installed_version", version)
    monkeypatch.setattr(doctor, "requires", lambda name: ["onnxruntime>=1.22", "numpy>=2.0", 'x>=1; extra == "dev"'])
    found: dict[str, Any] = {finding.subject: finding for finding in doctor._packages()}
    assert (found["onnxruntime"].state, found["onnxruntime"].remedy) == ("missing", 'pip install "onnxruntime>=1.22"')
    assert (found["numpy"].state, found["numpy"].found) == ("missing", "1.26.4, needed >=2.0")
    assert "x" not in found
    done = pairfld("doctor")
    assert done.code == 1
    assert "needed and missing: onnxruntime, numpy" in done.err
