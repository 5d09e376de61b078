"""Sizes as people write them."""

from __future__ import annotations

import re

import click

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_FORM = re.compile(r"\A([0-9]{1,9}) ?([kKMGT]?[bB]|)\Z")


class Size(click.ParamType[int | None]):
    """`200GB`, `1500 MB`, a number of bytes; or `none`."""

    name = "size"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        text = str(value)
        if text == "none":
            return None
        found = _FORM.match(text)
        if found is None or int(found[1]) == 0:
            self.fail("write a size as 200GB, or none", param, ctx)
        return int(found[1]) * _UNITS[found[2].upper()]
