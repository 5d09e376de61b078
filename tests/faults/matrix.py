"""Each place × each fault: the test that shows what held, or why there is nothing to show.

`docs/guarantees.md` shows it (`tests.proofs`); `tests/test_proofs.py` holds that each cell is
there, and that each test that is named exists.
"""

from __future__ import annotations

FAULTS = (
    "refused",
    "hung",
    "cut at byte n",
    "said done, not done",
    "done, said failed",
    "slow",
    "out of space",
    "read-only",
    "old replica",
)

_SERVERS = "tests/faults/test_faults_of_servers.py::test_"
_STORES = "tests/faults/test_faults_of_stores_and_keys.py::test_"
_SERVICES = "tests/faults/test_faults_of_services.py::test_"
_MAIL = "tests/faults/test_faults_of_mail.py::test_"
_DISKS = "tests/system/test_full_disks.py::test_"
_TICKETS = "tests/faults/test_tickets.py::test_"
_CASES = "tests/faults/test_ticket_cases.py::test_"
_COMMENTS = "tests/faults/test_ticket_comments.py::test_"
_GENERIC = "tests/test_generic_tickets.py::test_"

_LIVE = _SERVERS + "a_tenants_server_that_"
_TEST = _SERVERS + "a_test_server_that_"
_CONTROL = _SERVERS + "a_control_database_that_"
_LIES = _STORES + "a_store_or_keyring_that_lies_keeps_the_copy_condemned"
_AWAY = _STORES + "a_folder_that_is_not_mounted_keeps_the_copy_condemned"
_OLD = _STORES + "an_old_copy_of_a_folder_is_found_by_the_next_look_and_ended_once_more"
_BUCKET = _SERVICES + "a_bucket_that_deletes_nothing_keeps_the_copy_condemned_until_it_does"
_BUCKET_LATE = _SERVICES + "a_bucket_that_does_it_and_says_little_of_it_ends_the_copy"
_KEYS = _SERVICES + "a_key_server_that_erases_nothing_keeps_the_copy_condemned_until_it_does"
_KEYS_LATE = _SERVICES + "a_key_server_that_does_it_and_says_little_of_it_ends_the_copy"
_SENT = _MAIL + "a_certificate_is_there_and_its_mail_is_sent_when_the_mail_server_takes_it"
_ENDS = "ends_nothing_keeps_the_{}_until_it_does"
_LITTLE = "does_it_and_says_little_of_it_ends_the_{}_once"

_IN_THE_KERNEL = (
    "no test: a call to a file system that hangs can't be cut from outside. The job waits in the "
    "kernel, with its copy's lock and one place of its worker; all others go on, and this copy is "
    "late and told of after 15 minutes"
)
_NO_LIMIT = "no test: nothing in a folder's calls has a limit of time, so slow is only later"


NO_TEST = "no test: "


def _each(test: str, *faults: str) -> dict[str, str]:
    return dict.fromkeys(faults, test)


_PLAIN = ("refused", "hung", "cut at byte n", "said done, not done", "out of space")
_CUT = ("cut at byte n",)
_LATE = ("done, said failed", "slow")
CELLS: dict[str, dict[str, str]] = {
    "tenant's server": {
        **_each(_LIVE + _ENDS.format("login_revoking"), *_PLAIN),
        **_each(_LIVE + _LITTLE.format("login"), *_LATE),
        "read-only": _LIVE + "only_reads_keeps_the_login_revoking",
        "old replica": _SERVERS + "an_old_replica_at_a_servers_name_counts_nothing_as_gone",
    },
    "test server": {
        **_each(_TEST + _ENDS.format("copy_condemned"), *_PLAIN),
        **_each(_TEST + _LITTLE.format("copy"), *_LATE),
        "read-only": _TEST + "only_reads_keeps_the_copy_condemned",
        "old replica": _SERVERS + "an_old_replica_at_a_servers_name_counts_nothing_as_gone",
    },
    "store in a folder": {
        "refused": _AWAY,
        "hung": _IN_THE_KERNEL,
        "cut at byte n": "tests/faults/test_killed_workers.py::"
        "test_a_copy_whose_worker_died_in_the_middle_is_made_anew_and_ends",
        **_each(_LIES, "said done, not done", "done, said failed"),
        "slow": _NO_LIMIT,
        **_each(
            _DISKS + "a_store_that_is_full_or_read_only_keeps_no_copy_from_its_end",
            *("out of space", "read-only"),
        ),
        "old replica": _OLD,
    },
    "store in a bucket": {
        **_each(_BUCKET, *_PLAIN, "read-only"),
        **_each(_BUCKET_LATE, *_LATE),
        "old replica": "no test: a listing that lags is the service's; what it hides is found by "
        "the looks an hour, a day, a week and a month later, as in a folder",
    },
    "keyring": {
        "refused": _AWAY,
        "hung": _IN_THE_KERNEL,
        "cut at byte n": "tests/faults/test_killed_workers.py::"
        "test_a_destruction_that_was_killed_after_the_key_died_goes_on_to_its_certificate",
        **_each(_LIES, "said done, not done", "done, said failed"),
        "slow": _NO_LIMIT,
        **_each(
            _DISKS
            + "a_keyring_that_is_full_or_read_only_keeps_the_copy_condemned_until_it_is_mended",
            *("out of space", "read-only"),
        ),
        "old replica": _OLD,
    },
    "key server": {
        **_each(_KEYS, *_PLAIN, "read-only"),
        **_each(_KEYS_LATE, *_LATE),
        "old replica": "tests/keys/test_openbao.py::test_"
        "a_key_that_openbao_still_has_is_never_called_erased",
    },
    "ticket system": {
        "refused": _TICKETS + "a_system_that_refuses_everything_changes_nothing",
        "hung": _GENERIC + "a_system_that_is_silent_is_unavailable",
        "slow": _GENERIC + "a_system_that_drips_is_unavailable",
        **_each(_GENERIC + "any_other_answer_says_nothing_of_the_ticket", *_CUT, "out of space"),
        "said done, not done": "no test: only comments are written there, and nothing rests on one",
        "done, said failed": _COMMENTS + "a_comment_waits_for_its_system_and_is_there_once",
        "read-only": _COMMENTS + "a_comment_waits_for_its_system_and_is_there_once",
        "old replica": _CASES + "a_ticket_that_is_opened_again_brings_nothing_back",
    },
    "mail": {
        **_each(_SENT, *_PLAIN[:3], "out of space", "read-only", "slow"),
        "said done, not done": "no test: a mail that a server took and lost is never known to be "
        "lost. The certificate stands in the log, on its page and in the API all the same",
        "done, said failed": _MAIL
        + "a_mail_that_was_taken_and_said_refused_comes_twice_and_never_not_at_all",
        "old replica": "no test: mail goes one way",
    },
    "control database": {
        **_each(
            _CONTROL + "fails_leaves_what_was_committed_and_no_more",
            *("refused", "cut at byte n", "slow", "out of space"),
        ),
        "hung": _CONTROL + "hangs_is_waited_for_and_then_work_goes_on",
        "said done, not done": "tests/test_quarantine.py::"
        "test_after_a_restore_nothing_is_made_or_ended_until_a_person_says_so",
        "done, said failed": _SERVERS
        + "each_commit_that_is_done_and_said_failed_is_met_again_and_done_once",
        "read-only": _CONTROL + "only_reads_ends_nothing_and_says_nothing",
        "old replica": "tests/test_quarantine.py::"
        "test_after_a_restore_nothing_is_made_or_ended_until_a_person_says_so",
    },
}
