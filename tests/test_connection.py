"""A client ends every request, waits as long as it is asked to, and follows no unsafe address."""

import email.utils
import time

import pytest
import requests
from loopback import serve_tree

from georep_utils.data.connection import Client, Limits, check_url, redact, retry_after
from georep_utils.io import UserError


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "x").write_bytes(b"content" * 1000)
    return tmp_path


def read(url, limits=None):
    with Client(limits or Limits(backoff=0.01, attempts=2)) as client:

        def ask():
            with client.get(url) as answer:
                return b"".join(answer.chunks())

        return client.patiently(ask, "the file")


def http_date(seconds_from_now):
    return email.utils.formatdate(time.time() + seconds_from_now, usegmt=True)


@pytest.mark.parametrize(
    "value, seconds",
    [("7", 7), (" 7 ", 7), ("0", 0), ("", 0), ("soon", 0), ("-5", 0), ("1e3", 0), ("²", 0)],
)
def test_a_pause_is_stated_in_seconds(value, seconds):
    assert retry_after(value) == seconds


def test_a_pause_is_stated_as_a_date():
    assert 25 < retry_after(http_date(30)) <= 30
    assert retry_after(http_date(-30)) == 0
    assert retry_after("Mon, 99 Foo 2020 00:00:00 GMT") == 0
    assert retry_after("Wed, 01 Jan 99999 00:00:00 GMT") == 0


@pytest.mark.parametrize(
    "header, least, most",
    [("7", 7, 7), ("100000", 120, 120), (http_date(10**6), 120, 120), ("", 0.01, 0.01)],
    ids=["seconds", "too many", "a date", "nothing"],
)
def test_the_pause_that_a_busy_server_asks_for_is_kept(tree, monkeypatch, header, least, most):
    pauses = []
    monkeypatch.setattr("georep_utils.data.connection.time.sleep", pauses.append)
    with serve_tree(tree, fault="busy", times=1, retry_after=header) as server:
        assert read(f"{server.url}/x") == b"content" * 1000
    assert len(pauses) == 1 and least <= pauses[0] <= most


def test_a_redirection_is_followed_and_an_endless_or_unsafe_one_is_not(tree):
    redirects = {"/old": "/x", "/loop": "/loop", "/out": "http://example.com/x?token=secret"}
    with serve_tree(tree, redirects=redirects) as server:
        assert read(f"{server.url}/old") == b"content" * 1000
        with pytest.raises(UserError, match="more than 10 redirections"):
            read(f"{server.url}/loop")
        with pytest.raises(UserError, match=r"http://example.com/x\?... is not fetched"):
            read(f"{server.url}/out")


def test_slowness_is_told_from_a_broken_connection(tree):
    limits = Limits(attempts=1, window=0.1)
    for fault, message in (("drip", "ReadTimeout: fewer than 102 bytes"), ("drop", "Connection")):
        with serve_tree(tree, fault=fault) as server:
            with pytest.raises(UserError, match=message):
                read(f"{server.url}/x", limits)


def test_an_answer_in_time_is_not_disturbed_by_the_watch(tree):
    with serve_tree(tree) as server, Client(Limits(window=0.05)) as client:
        with client.get(f"{server.url}/x") as answer:
            assert b"".join(answer.chunks()) == b"content" * 1000
    with serve_tree(tree) as server, Client(Limits(window=0.05)) as client:
        with pytest.raises(requests.ReadTimeout):
            with client.get(f"{server.url}/x") as answer:
                time.sleep(0.2)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8/x", "http://localhost/x", "http://[::1]:8/x", "https://a.example/x"]
)
def test_https_and_this_machine_are_safe(url):
    check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1.example/x",
        "http://localhost@example.com/x",
        "http://128.0.0.1/x",
        "http://[::1/x",
        "gopher://localhost/x",
        "https:///x",
        "",
    ],
)
def test_anything_else_is_not(url):
    with pytest.raises(UserError, match="expected"):
        check_url(url)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("https://user:pass@host/p?token=1&b=2 failed", "https://host/p?... failed"),
        ("no url: /p?token=secret (Caused by x)", "no url: /p?... (Caused by x)"),
        ("https://host/p#access_token=secret", "https://host/p?..."),
        ("https://user:p@ss@host/p", "https://host/p"),
        ("nothing to hide, is there? no", "nothing to hide, is there? no"),
    ],
)
def test_addresses_are_shown_without_what_is_secret_in_them(text, expected):
    assert redact(text) == expected
