"""Mutated files and command lines: a part of `python tests/fuzz.py`, or with `--long`, all of it."""

from __future__ import annotations

import fuzz


def test_a_mutated_input_is_read_or_refused_in_words_by_every_reader(request):
    results = fuzz.run(inputs=100_000 if request.config.getoption("--long") else 2000, seed=0)
    shown = fuzz.table(results)
    assert not any(each.failures for each in results.values()), shown
    assert all(sum(each.endings.values()) for each in results.values())
    print(shown)


def test_a_reader_that_lets_an_exception_through_is_found(monkeypatch):
    reader = fuzz.Reader("text", lambda _: b"plain", lambda path: path.read_bytes().decode())
    monkeypatch.setattr(fuzz, "READERS", [reader])
    result = fuzz.run(inputs=50, seed=0)["text"]
    assert any("UnicodeDecodeError" in ending for _, ending in result.failures)
    assert result.endings["read"]
