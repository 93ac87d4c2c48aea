"""MIDI files, byte by byte as the standard has them."""

import pytest

from seqtrain.reading.midi import Music, Note, read_midi, write_midi


def track(*events: bytes) -> bytes:
    content = b"".join(events) + b"\x00\xff\x2f\x00"
    return b"MTrk" + len(content).to_bytes(4) + content


def midi(*tracks: bytes, division: int = 96) -> bytes:
    return b"MThd\0\0\0\x06\0\x01" + len(tracks).to_bytes(2) + division.to_bytes(2) + b"".join(tracks)


TEMPO = b"\x00\xff\x51\x03\x07\xa1\x20"  # 500,000 microseconds a quarter note: 120 in a minute


def test_a_file_by_hand():
    notes = track(
        *(b"\x00\xc0\x05", b"\x00\xb0\x07\x64"),  # program, volume
        *(b"\x00\x90\x3c\x40", b"\x00\x43\x40"),  # C4 and, by running status, G4 begin
        *(b"\x60\x80\x3c\x00", b"\x81\x40\x90\x43\x00"),  # C4 ends after 96 ticks, G4 after 192 more: velocity 0
        b"\x00\x99\x24\x7f",  # a drum
        b"\x00\xf0\x02\x01\xf7",  # system exclusive
        b"\x00\x90\x48\x40",  # never let go of: it sounds to the end of its track
        b"\x60\xff\x01\x01x",
    )
    found = read_midi(midi(track(TEMPO), notes))
    assert found == Music([Note(0.0, 1.0, 60), Note(0.0, 3.0, 67), Note(3.0, 4.0, 72)], 120.0)


def test_what_is_written_is_read_again():
    notes = [Note(0.0, 1.5, 60), Note(0.0, 200.0, 36), Note(1.5, 2.0, 60), Note(1.5, 2.25, 108)]
    assert read_midi(write_midi(notes, 90.0)) == Music(sorted(notes), pytest.approx(90.0, abs=1e-3))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "it is empty"),
        (b"RIFF....", "no MIDI file"),
        (b"MThd\0\0", "cut off"),
        (midi(track(TEMPO)), "no notes"),
        (midi(track(b"\x00\x90\x3c\x40"))[:-3], "cut off"),
        (midi(track(b"\x00\x90\x3c\x40"), b""), "1 of its tracks are missing"),
        (midi(track(b"\x00\x40\x40\x40")), "no event"),
        (midi(track(b"\xff\xff\xff\xff\xff\x90\x3c\x40")), "no end"),
        (midi(track(b"\x00\x90\x3c\x40"), division=0xE728), "seconds"),
    ],
)
def test_damaged_files_are_told(data: bytes, problem: str):
    with pytest.raises(ValueError, match=problem):
        read_midi(data)


def test_any_cut_of_a_file_is_an_error_and_nothing_else():
    whole = write_midi([Note(0.0, 1.0, 60), Note(1.0, 2.0, 64)], 120.0)
    for size in range(len(whole)):
        with pytest.raises(ValueError, match=r"empty|cut off|no MIDI"):
            read_midi(whole[:size])
