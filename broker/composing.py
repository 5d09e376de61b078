"""A mail as its bytes go out: plain and HTML, threaded, with a link to its page. Pure.

What must stay true: nothing in it acts when it is opened or followed; there is no picture, no
script and no address but the console's own. The sender's domain is in every identifier, so that a
relay may sign it (DKIM, RFC 6376).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from html import escape

from broker.languages import mark, translate
from broker.letters import DECLINABLE

_OPEN = mark("Read it on the console:")
_CHOOSE = mark("Choose which mails you get:")
_CHOICES = "/account"


@dataclass(frozen=True, slots=True)
class Ready:
    """A mail's text in its reader's language, and where it belongs."""

    number: int
    to: str
    language: str
    subject: str
    text: str
    kind: str
    page: str
    thread: str
    at: datetime


def compose(mail: Ready, *, sender: str, public_url: str) -> EmailMessage:
    message = EmailMessage()
    domain = sender.rpartition("@")[2].rstrip(">")
    message["From"], message["To"], message["Subject"] = sender, mail.to, mail.subject
    message["Date"] = format_datetime(mail.at)
    message["Message-ID"] = f"<mail-{mail.number}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message["Content-Language"] = mail.language
    if mail.thread:
        # No mail has this id: those that name it stand together, whichever of them comes first.
        message["In-Reply-To"] = message["References"] = f"<{mail.thread}@{domain}>"
    links = _list_links(mail, public_url.rstrip("/"))
    if mail.kind in DECLINABLE:
        # A page with a form (RFC 2369); no one-click, for this address must not act by itself.
        message["List-Unsubscribe"] = f"<{public_url.rstrip('/')}{_CHOICES}>"
    message.set_content("\n\n".join([mail.text.rstrip("\n"), *(f"{w}\n{u}" for w, u in links)]))
    message.add_alternative(_to_html(mail, links), subtype="html")
    return message


def _list_links(mail: Ready, root: str) -> list[tuple[str, str]]:
    links = [(translate(mail.language, _OPEN), f"{root}{mail.page}")] if mail.page else []
    if mail.kind in DECLINABLE:
        links.append((translate(mail.language, _CHOOSE), f"{root}{_CHOICES}"))
    return links


def _to_html(mail: Ready, links: list[tuple[str, str]]) -> str:
    paragraphs = [_to_paragraph(part) for part in mail.text.split("\n\n") if part.strip()]
    paragraphs += [
        f'<p>{escape(words)} <a href="{escape(url)}">{escape(url)}</a></p>' for words, url in links
    ]
    return (
        f'<!doctype html><html lang="{mail.language}"><head><meta charset="utf-8">'
        f'<meta name="color-scheme" content="light dark"><title>{escape(mail.subject)}</title>'
        '</head><body style="font-family:system-ui,sans-serif;line-height:1.5;max-width:40em">\n'
        + "\n".join(paragraphs)
        + "\n</body></html>\n"
    )


def _to_paragraph(text: str) -> str:
    lines = "<br>\n".join(escape(line).replace("  ", "&#160;&#160;") for line in text.split("\n"))
    return f"<p>{lines}</p>"
