"""Every vendor's driver against a small server that plays the vendor's documented API."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from broker.errors import Invalid, SettingsError
from broker.secret import Secret
from broker.tickets import CommentRefused, TicketSystemUnavailable, WebhookRefused
from tests.tickets.plays.base import AGENT, ASKS, NEW, NOW, OLD, Play
from tests.tickets.plays.freshdesk import Freshdesk
from tests.tickets.plays.gitlab import Gitlab
from tests.tickets.plays.glpi import Glpi
from tests.tickets.plays.jira import Jira
from tests.tickets.plays.linear import Linear
from tests.tickets.plays.zendesk import Zendesk

PLAYS: tuple[Callable[[], Play], ...] = (Zendesk, Jira, Freshdesk, Glpi, Gitlab, Linear)


@pytest.fixture(params=PLAYS, ids=lambda play: play.__name__.lower())
def play(request: pytest.FixtureRequest) -> Play:
    return request.param()


def test_an_open_ticket_is_read_as_it_is(play: Play) -> None:
    assert play.driver().find(play.expected.external_id) == play.expected


def test_each_way_of_being_closed_is_closed(play: Play) -> None:
    driver = play.driver()
    assert {one: driver.find(one).closed for one in play.closed} == dict.fromkeys(play.closed, True)


def test_a_ticket_without_one_customer_is_nobodys(play: Play) -> None:
    driver = play.driver()
    assert [driver.find(one).customer for one in play.unmapped] == [""] * len(play.unmapped)


def test_a_ticket_that_is_gone_is_none_and_the_probe_reads_well(play: Play) -> None:
    driver = play.driver()
    assert driver.find(play.gone) is None
    driver.probe()


def test_a_wrong_token_is_a_system_that_is_not_reached(play: Play) -> None:
    with pytest.raises(TicketSystemUnavailable) as caught:
        play.driver(token=Secret("another-token")).probe()
    assert "another-token" not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_a_ticket_that_is_not_whole_says_nothing(play: Play) -> None:
    play.break_open()
    driver = play.driver()
    with pytest.raises(TicketSystemUnavailable):
        driver.find(play.expected.external_id)
    assert play.expected.external_id not in driver.find_many([play.expected.external_id, "x"])


def test_several_are_shown_together_and_what_is_gone_is_left_out(play: Play) -> None:
    driver, asked = play.driver(), [play.expected.external_id, play.closed[0], play.gone]
    shown = driver.find_many(asked)
    if driver.at_once == 1:
        assert shown == {}
        return
    assert set(shown) == {play.expected.external_id, play.closed[0]}
    assert shown[play.expected.external_id] == play.expected
    assert len([one for one in play.asked if one not in play.public]) == 1


def test_of_what_can_be_no_id_there_is_no_list_to_ask_for(play: Play) -> None:
    assert play.driver().find_many(["../x", "no id"]) == {}
    assert play.asked == []


def test_a_system_that_asks_us_to_wait_says_how_long(play: Play) -> None:
    play.wait = True
    with pytest.raises(TicketSystemUnavailable) as caught:
        play.driver().find(play.expected.external_id)
    assert caught.value.facts == {"retry_after_s": 37}


def test_a_comment_is_internal_where_there_is_such_a_thing(play: Play) -> None:
    driver = play.driver()
    driver.comment(play.expected.external_id, "grt_1:opened", "Access grt_1 is open.")
    (said,) = play.said
    assert (said.ticket, said.text) == (play.expected.external_id, "Access grt_1 is open.")
    assert said.internal is play.internal
    for one in (play.gone, play.locked):
        if one is not None:
            with pytest.raises(CommentRefused):
                driver.comment(one, "k", "text")


def test_what_an_agent_writes_to_us_unseen_by_the_customer_is_read_with_its_author(
    play: Play,
) -> None:
    name = play.expected.external_id
    if not play.speaks:
        assert play.driver().list_commands(name) == ()
        return
    play.remarks = [play.remark(text) for text in (ASKS, "we look into it", "see /access read 2h")]
    (found,) = play.driver().list_commands(name)
    assert (found.author, found.text, found.at.timestamp()) == (AGENT, ASKS, 1_789_984_800)


def test_what_others_write_or_others_see_is_no_command(play: Play) -> None:
    if play.speaks:
        for one in play.strangers():
            play.remarks = [one]
            assert play.driver().list_commands(play.expected.external_id) == [], one


@pytest.mark.parametrize("identity", ["", "..", "../x", "a b", "1\n", "é", "9" * 99, "A-0", "0"])
def test_what_can_be_no_id_is_never_asked_for(play: Play, identity: str) -> None:
    driver = play.driver()
    with pytest.raises(Invalid):
        driver.find(identity)
    with pytest.raises(Invalid):
        driver.comment(identity, "k", "text")
    assert play.asked == []


def test_a_probe_that_can_be_no_ticket_stops_the_start(play: Play) -> None:
    object.__setattr__(play.expected, "external_id", "no ticket")
    with pytest.raises(SettingsError, match="BROKER_TICKETS__PROBE"):
        play.driver()


def test_a_signed_webhook_names_its_ticket_under_old_and_new_secret(play: Play) -> None:
    name = play.expected.external_id
    for secret in (OLD, NEW):
        headers, body = play.sign(name, secret, NOW)
        read = play.driver().read_webhook(headers, body)
        assert read.external_id == name
        again = play.driver().read_webhook(headers, body)
        assert (read.message_id == again.message_id) is True
        assert (read.message_id is not None) is play.remembers


def test_two_webhooks_have_two_ids(play: Play) -> None:
    one, other = (
        play.driver().read_webhook(*play.sign(play.expected.external_id, OLD, NOW + age))
        for age in (0, 1)
    )
    assert one.message_id != other.message_id or not play.remembers


def test_a_forged_or_changed_webhook_is_refused(play: Play) -> None:
    name = play.expected.external_id
    headers, body = play.sign(name, OLD, NOW)
    forged, _ = play.sign(name, Secret("nobody's webhook secret"), NOW)
    tries = [(forged, body), ({}, body), (dict.fromkeys(headers, ""), body)]
    if play.signed:
        tries += [(headers, body.replace(name.encode(), play.gone.encode())), (headers, b"{}")]
    for sent, content in tries:
        with pytest.raises(WebhookRefused):
            play.driver().read_webhook(sent, content)
    with pytest.raises(WebhookRefused):
        play.driver(secrets=()).read_webhook(headers, body)


def test_a_webhook_that_is_not_of_now_is_refused(play: Play) -> None:
    if play.window_s is None:
        return
    headers, body = play.sign(play.expected.external_id, OLD, NOW)
    for off_s in (-play.window_s - 2, play.window_s + 2):
        with pytest.raises(WebhookRefused, match="not of now"):
            play.driver(now=NOW + off_s).read_webhook(headers, body)


def test_a_webhook_that_names_no_ticket_is_refused(play: Play) -> None:
    with pytest.raises(WebhookRefused):
        play.driver().read_webhook(*play.sign("../x", OLD, NOW))


def test_a_short_webhook_secret_stops_the_start(play: Play) -> None:
    with pytest.raises(SettingsError, match="16 characters"):
        play.driver(secrets=[Secret("short")])
