"""The codecs' vectors are what another implementation makes, now as then."""

from __future__ import annotations

from tests.vectors.codecs.make import HERE, vectors


def test_the_vectors_of_g711_and_g722_are_what_ffmpeg_makes_of_the_same_signals() -> None:
    made = vectors()
    assert set(made) == {path.name for path in HERE.iterdir() if path.suffix in (".in", ".coded", ".out")}
    for name, data in made.items():
        assert (HERE / name).read_bytes() == data, name
