"""The registry: ours, and those of other packages."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from fastwsi import detectors
from fastwsi.detectors import registry


def test_ours():
    assert "liu2017" in detectors.list()
    assert detectors.detector("liu2017") is detectors.Liu2017
    with pytest.raises(ValueError, match="detector: got 'liu', expected one of liu2017"):
        detectors.detector("liu")


def test_listing_imports_nothing_heavy():
    script = "import sys, fastwsi; fastwsi.detectors.list(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.fixture
def plugins(monkeypatch):
    points = [
        EntryPoint("mine", "fastwsi.detectors.liu2017:Liu2017", registry.GROUP),
        EntryPoint("absent", "no_such_package:Thing", registry.GROUP),
        EntryPoint("wrong", "json:JSONDecoder", registry.GROUP),
        EntryPoint("liu2017", "json:JSONDecoder", registry.GROUP),
    ]
    monkeypatch.setattr(registry.metadata, "entry_points", lambda group: points)


def test_plug_ins_are_loaded_when_named(plugins):
    assert detectors.list() == ("liu2017", "absent", "mine", "wrong")
    assert detectors.detector("mine") is detectors.Liu2017
    with pytest.raises(ImportError, match=r"'absent' \(no_such_package:Thing\) cannot be imported"):
        detectors.detector("absent")
    with pytest.raises(TypeError, match=r"is no fastwsi\.detectors\.Detector"):
        detectors.detector("wrong")


def test_our_names_stay_ours(plugins):
    assert detectors.detector("liu2017") is detectors.Liu2017
