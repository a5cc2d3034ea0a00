"""What machines tell, in all its encodings; and how much of it is kept."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from hypothesis import given
from hypothesis import strategies as st

from service.metadata.password_key import NotForUs, decrypted, make_key, public_pem
from service.metadata.told import (
    BadBody,
    GaveUp,
    Happened,
    NewPassword,
    PhonedHome,
    event,
    fields,
    phone_home,
    problem,
    user_event,
)
from service.throttle import Throttle, Verdict

JSON, FORM, NONE = "application/json", "application/x-www-form-urlencoded", "application/octet-stream"


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        (JSON, b"", PhonedHome()),
        (NONE, b"", PhonedHome()),
        ("text/plain", b"", PhonedHome()),
        (NONE, b'{"instance_id": "1"}', PhonedHome()),
        (FORM, b"instance_id=1&pub_key_rsa=ssh-rsa+AAAA", PhonedHome()),
        (FORM, b"body=Device+connected+to+DHCP+system&type=provisioning.104.01",
         Happened("provisioning.104.01", "Device connected to DHCP system")),
        (JSON, b'{"type": "provisioning.104"}', Happened("provisioning.104", "provisioning.104")),
        (JSON, b'{"type": "deprovisioning.306.02", "body": "b", "private": true}',
         Happened("deprovisioning.306.02", "b", private=True)),
        (FORM, b'{"type": "failure", "reason": "Error during disk"}', GaveUp("Error during disk")),
        (JSON, b'{"type": "failure", "reason": "r", "exit_code": 2}', GaveUp("r (exit code 2)")),
        (JSON, b'{"type": "failure"}', GaveUp("no reason given")),
        (JSON, b'{"password": "aGk="}', NewPassword(b"hi")),
    ],
    ids=lambda value: None if not isinstance(value, bytes) else value.decode()[:30] or "empty",
)  # fmt: skip
def test_a_phone_home_in_every_encoding(kind: str, content: bytes, message: object) -> None:
    assert phone_home(fields(kind, content)) == message


@pytest.mark.parametrize(
    ("kind", "content", "why"),
    [
        ("text/plain", b"hello", "'text/plain' is neither JSON nor a form"),
        ("application/xml", b"<a/>", "neither JSON nor a form"),
        (JSON, b"{", "no JSON"),
        (JSON, b"[" * 5000, "no JSON"),
        (JSON, b"[]", "no JSON object"),
        (JSON, b'"x"', "no JSON object"),
        (JSON, b'{"type": "a\\u0000b"}', "NUL"),
        (JSON, b'{"type": "\\ud800"}', "surrogate"),
        (FORM, b"type=%00", "NUL"),
        (FORM, b"type=%ff", "no form"),
        (FORM, b"&".join(b"a%d=1" % number for number in range(101)), "at most 100"),
        (JSON, b"\xff", "no UTF-8"),
        (JSON, b'{"type": "machine.retired"}', "type is not valid: 'machine.retired'"),
        (JSON, b'{"type": 7}', "type is not valid: it is no text"),
        (JSON, b'{"password": "?"}', "password is not valid"),
    ],
    ids=range(15),
)
def test_what_cannot_be_read_is_refused_with_the_reason(kind: str, content: bytes, why: str) -> None:
    with pytest.raises(BadBody, match=why.replace("[", r"\[")):
        phone_home(fields(kind, content))


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"code": 1007, "state": "running", "message": "m"}, Happened("user.1007", "m", state="running")),
        ({"state": "succeeded"}, Happened("user.1000", "", state="succeeded")),
        ({"code": "1099"}, Happened("user.1099", "")),
    ],
    ids=["all", "no code", "code as text"],
)
def test_a_customers_event(said: dict[str, Any], found: Happened) -> None:
    assert user_event(said) == found


@pytest.mark.parametrize(
    "said",
    [{}, {"code": 999}, {"code": 1100}, {"code": True}, {"code": "x"}, {"code": 1000.5}, {"state": "done"},
     {"message": 5}, {"code": "٣"}],
    ids=range(9),
)  # fmt: skip
def test_a_customers_event_that_is_none(said: dict[str, Any]) -> None:
    with pytest.raises(BadBody):
        user_event(said)


@given(
    st.sampled_from([JSON, FORM, NONE]),
    st.dictionaries(st.sampled_from(["type", "body", "private", "reason", "instance_id"]), st.text(max_size=30)),
)
def test_json_and_form_say_the_same(kind: str, said: dict[str, str]) -> None:
    content = (urlencode(said, errors="replace") if kind == FORM else json.dumps(said)).encode()
    try:
        found = fields(kind, content)
    except BadBody:
        assert any(char == "\0" or "\ud800" <= char <= "\udfff" for text in said.values() for char in text)
        return
    as_sent = {name: text.encode(errors="replace").decode() for name, text in said.items()}
    assert found == (as_sent if kind == FORM else said)


@given(st.binary(max_size=300), st.sampled_from([JSON, FORM, NONE, "text/plain"]))
def test_no_body_does_more_than_be_refused(content: bytes, kind: str) -> None:
    for read in (phone_home, event, user_event, problem):
        try:
            read(fields(kind, content))
        except BadBody as err:
            assert str(err)


def test_a_minute_is_full_once_and_the_next_one_is_new() -> None:
    throttle, machine, other = Throttle(limit=3), uuid4(), uuid4()
    now = datetime(2024, 5, 1, tzinfo=UTC)
    found = [throttle.judge(machine, now + timedelta(seconds=number)) for number in range(6)]
    assert found == [Verdict.TAKE] * 3 + [Verdict.TELL] + [Verdict.DROP] * 2
    assert throttle.judge(other, now) is Verdict.TAKE
    assert throttle.judge(machine, now + timedelta(seconds=60)) is Verdict.TAKE


def test_a_password_comes_through_both_paddings_and_nothing_else_does() -> None:
    pem = make_key()
    public = load_pem_public_key(public_pem(pem).encode())
    assert isinstance(public, rsa.RSAPublicKey)
    for way in (padding.OAEP(padding.MGF1(SHA1()), SHA1(), None), padding.PKCS1v15()):
        assert decrypted(pem, public.encrypt("Pässword 1!".encode(), way)) == "Pässword 1!"
    for wrong in (b"", b"short", bytes(256), base64.b64encode(b"hello" * 20)):
        with pytest.raises(NotForUs):
            decrypted(pem, wrong)
    with pytest.raises(NotForUs):
        decrypted(pem, public.encrypt(b"line\nbreak", padding.PKCS1v15()))
