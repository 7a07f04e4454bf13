"""What a stranger's source may cost the parser."""

from __future__ import annotations

import ast

import pytest

from ailab_bot.plan.codecompare import compare_code
from ailab_bot.plan.parsing import check, parse
from ailab_bot.plan.tokens import NOTHING, tokens_of

CHAIN = b"import " + b".".join([b"a"] * 98_000)


@pytest.mark.parametrize(
    "source",
    [
        CHAIN,
        b"from " + CHAIN[7:] + b" import b",
        b"import a" + b" . a" * 500,
        b"import a" + b".\\\na" * 500,
        b"import a" + ".ä".encode() * 500,
        b"# -*- coding: utf-7 -*-\nimport a" + b"+AC4-a" * 500,
        b"#!/usr/bin/python\n# vim: set fileencoding=utf_7 :\nimport a",
        b"\r#coding:utf-7\rimport a" + b"+AC4-a" * 500,
    ],
    ids=["import", "from", "spaces", "lines", "letters", "encoded", "second line", "returns"],
)
def test_chains_that_cost_more_than_their_length_are_refused(source: bytes) -> None:
    with pytest.raises(ValueError, match=r"dotted name|encoding"):
        check(source)
    assert tokens_of(b"", source) == NOTHING
    assert not compare_code(b"x = 1\n", source, "m.py").known


@pytest.mark.parametrize(
    "source",
    [
        b"import " + b".".join([b"a"] * 150),
        b"# -*- coding: latin-1 -*-\nx = '\xe4'\n",
        b"# coding=UTF_8\nx = 1\n",
        b"\xef\xbb\xbfx = 1\n",
        b"x = y" + b".z()" * 300,
        b"x = '" + b"." * 5000 + b"'\n",
        b"x = 1." + b"\n",
        b"# see www." + b"a." * 150 + b"\n",
    ],
)
def test_what_people_write_is_parsed(source: bytes) -> None:
    assert isinstance(parse(source), ast.Module)
