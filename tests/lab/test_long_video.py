"""A long video with planted events: made as said, and watched with every event found."""

from __future__ import annotations

from pathlib import Path

import pytest

from deixis.errors import OptionError
from deixis.lab.bench_long import measured
from deixis.lab.video.long import long_case

SEED = 850_001


def test_planted_events_are_found_in_twenty_minutes(tmp_path: Path) -> None:
    row = measured(tmp_path, SEED, 1200, 3, (160, 120), None, None)
    assert row["video_s"] == pytest.approx(1200, abs=1)
    assert row["planted"] == row["found"] == 3, row["rows"]
    assert row["told"] <= 12  # nothing is made up in the hours of rest
    assert row["frames"]["located"] < 200
    assert row["second_question_frames"] == {"located": 0, "same": 0, "known": 0}


def test_what_is_asked_after_is_looked_at_again(tmp_path: Path) -> None:
    row = measured(tmp_path, SEED, 700, 3, (160, 120), None, 12)  # a look a second where something changes
    asked = [one for one in row["rows"] if one["asked"] is not None]
    assert len(asked) == 3
    assert max(one["asked_error_s"] for one in asked) <= 0.3, asked
    assert row["asked_frames"] <= 24 * len(asked)
    assert any("looked again" in note for note in row["notes"])


def test_stretched_times_go_both_ways() -> None:
    case, pictures = long_case(SEED, 3, 1200, (160, 120))
    assert len(pictures) == len(case.case.frames)
    for planted, deed in zip(case.planted, case.case.clip.deeds, strict=True):
        assert case.clip_time(planted.start_s) == pytest.approx(deed.start_s)
        assert planted.end_s - planted.start_s == pytest.approx(deed.end_s - deed.start_s)
    with pytest.raises(OptionError, match="too short"):
        long_case(SEED, 3, 20, (160, 120))
