"""Who an organisation is in law: its SIREN (France) or its VAT number (European Union).

Only the number's form and check digits are verified, by python-stdnum: that the organisation
exists, and is the one that asks, is for whoever enrols it to see.
"""

from __future__ import annotations

from stdnum.eu import vat
from stdnum.exceptions import ValidationError
from stdnum.fr import siren

from broker.errors import Invalid

_SIREN_DIGITS = 9


def parse_legal_id(text: str) -> str:
    """`siren:` or `vat:` and the number without blanks. Raises Invalid.

    Nine digits are a SIREN; what begins with the letters of a country is a VAT number.
    """
    number = "".join(text.split())
    try:
        if number.isdigit() and len(number) == _SIREN_DIGITS:
            return f"siren:{siren.validate(number)}"
        return f"vat:{vat.validate(number)}"
    except ValidationError:
        raise Invalid(
            "that is no number of an organisation: give its SIREN (nine digits), or its VAT number "
            "in the European Union with the country's letters, such as FR83404833048",
            fields={"legal_id": "a SIREN or a VAT number whose check digits are right"},
        ) from None
