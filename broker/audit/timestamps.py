"""Timestamps by a third party (RFC 3161): that something existed at an instant. Pure.

A timestamping authority (TSA) signs a digest and the time; it never sees what was digested. What
must stay true: a token is believed only under a root that its reader brought, over SHA-256 of the
very bytes, by a certificate for timestamping that was valid at that time. A reader who has no root
is told so, and the token counts for nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from broker.errors import Invalid, VerificationFailed

if TYPE_CHECKING:  # the library is loaded by who has a timestamp to make or check
    from cryptography.x509 import Certificate
    from rfc3161_client import TimeStampRequest, TimeStampResponse

_SHA256 = "2.16.840.1.101.3.4.2.1"
_GRANTED = 0  # RFC 3161, 2.4.2: as asked, without changes


@dataclass(frozen=True, slots=True)
class Stamped:
    """`by` names the TSA, as its certificate does."""

    at: datetime
    by: str


def load_roots(pem: bytes) -> list[Certificate]:
    """The TSA's roots, certificates in PEM. Raises Invalid."""
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise Invalid("this is no file of certificates (PEM)") from None


def make_request(message: bytes) -> TimeStampRequest:
    """What is asked of a TSA: SHA-256 of the message, a fresh nonce, its certificate."""
    from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

    return TimestampRequestBuilder().data(message).hash_algorithm(HashAlgorithm.SHA256).build()


def accept(
    response: bytes, request: TimeStampRequest, message: bytes, roots: Sequence[Certificate]
) -> Stamped:
    """What a TSA answered to this very request. Raises VerificationFailed."""
    if _read(response).tst_info.nonce != request.nonce:
        raise VerificationFailed("it answers another request: its nonce is not ours")
    return verify_stamp(response, message, roots)


def verify_stamp(response: bytes, message: bytes, roots: Sequence[Certificate]) -> Stamped:
    """When, and by whom, the message was stamped. Raises VerificationFailed with the reason."""
    from rfc3161_client import VerificationError, VerifierBuilder

    read = _read(response)
    info = read.tst_info
    digest = hashlib.sha256(message).digest()
    imprint = info.message_imprint
    if imprint.hash_algorithm.dotted_string != _SHA256 or imprint.message != digest:
        raise VerificationFailed("it is over something else: its digest is another")
    verifier = VerifierBuilder(roots=list(roots)).build()
    try:
        verifier.verify(read, digest)
    except VerificationError as error:
        raise VerificationFailed(_why(str(error))) from None
    return Stamped(info.gen_time, _name(read))


def _read(response: bytes) -> TimeStampResponse:
    from rfc3161_client import decode_timestamp_response

    try:
        read = decode_timestamp_response(response)
        granted, again = read.status == _GRANTED, read.as_bytes()
        read.tst_info  # noqa: B018  # a refusal has none, and says so here
    except ValueError:
        raise VerificationFailed("it is no answer of a timestamping authority") from None
    if not granted or again != response:
        raise VerificationFailed("the authority did not grant it as it was asked")
    return read


def _why(error: str) -> str:
    if "has expired" in error or "not yet valid" in error:
        return "the authority's certificate was not valid at that time"
    if "EKU" in error:
        return "its certificate is not for timestamping"
    return "no authority under the given root has signed it"


def _name(read: TimeStampResponse) -> str:
    """The signer's, once the signature was verified; shown, so never with control characters."""
    from cryptography import x509

    for data in read.signed_data.certificates:
        certificate = x509.load_der_x509_certificate(data)
        for signer in read.signed_data.signer_infos:
            named = (certificate.issuer, certificate.serial_number)
            if named == (signer.issuer, signer.serial_number):
                text = certificate.subject.rfc4514_string()
                return "".join(char if char.isprintable() else "?" for char in text)
    raise VerificationFailed("it does not bring its signer's certificate")
