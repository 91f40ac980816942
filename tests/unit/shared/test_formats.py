import pytest

from shared.formats import allowed_rates, nearest_rate
from shared.schemas import AudioFormat


@pytest.mark.parametrize(
    ("audio_format", "rate_hz", "expected_hz"),
    [
        ("opus", 22_050, 24_000),
        ("opus", 44_100, 48_000),
        ("opus", 16_000, 16_000),
        ("mp3", 22_050, 22_050),
        ("mp3", 20_000, 22_050),
        ("mp3", 96_000, 48_000),
        ("wav", 22_050, 22_050),
        ("ogg", 9_001, 9_001),
    ],
)
def test_sound_goes_to_the_next_rate_that_loses_nothing(
    audio_format: AudioFormat, rate_hz: int, expected_hz: int
) -> None:
    assert nearest_rate(audio_format, rate_hz) == expected_hz


def test_plain_formats_take_any_rate_of_the_api() -> None:
    for audio_format in ("wav", "flac", "ogg", "pcm"):
        allowed = allowed_rates(audio_format)
        assert 8_000 in allowed
        assert 48_000 in allowed
        assert 7_999 not in allowed
