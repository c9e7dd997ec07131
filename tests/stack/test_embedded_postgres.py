"""The embedded server: passwords are needed, a crash is recovered from, an interrupted making is made anew."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from database.bootstrap import bootstrap
from database.connection import Role, connect
from stack.embedded_postgres import EmbeddedPostgres, server_settings


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres") / "data", port)
    server.create("secret")
    server.start(server_settings(memory_bytes=2 * 1024**3, cpus=2))
    yield server
    server.stop()


def test_it_listens_on_loopback_and_wants_a_scram_password(server: EmbeddedPostgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.url("wrong"))
    with connect(server.url("secret")) as connection:
        rows = connection.execute(
            "select current_setting('listen_addresses'), rolpassword like 'SCRAM-SHA-256%%' from pg_authid where rolname = 'postgres'"
        ).fetchone()
    assert rows == ("127.0.0.1", True)


def test_a_killed_server_starts_again_with_its_data(server: EmbeddedPostgres) -> None:
    with connect(server.url("secret")) as connection:
        connection.execute("create table kept as select 42 as answer")
    assert server.pid is not None
    postmaster = psutil.Process(server.pid)
    children = postmaster.children(recursive=True)
    os.kill(server.pid, signal.SIGKILL)
    psutil.wait_procs([postmaster, *children], timeout=10)
    assert server.pid is None
    server.start(server_settings(memory_bytes=2 * 1024**3, cpus=2))
    with connect(server.url("secret")) as connection:
        assert connection.execute("select answer from kept").fetchone() == (42,)


def test_starting_a_running_server_does_nothing(server: EmbeddedPostgres) -> None:
    pid = server.pid
    server.start({})
    assert server.pid == pid
    assert server.running_port == server.port


def test_another_postgres_that_got_the_process_id_is_not_mistaken_for_ours(server: EmbeddedPostgres, tmp_path: Path) -> None:
    crashed = EmbeddedPostgres(tmp_path / "crashed", 5999)
    crashed.folder.mkdir()
    (crashed.folder / "postmaster.pid").write_text(f"{server.pid}\n{crashed.folder}\n")
    assert crashed.pid is None
    crashed.stop()
    assert server.pid is not None


def test_no_password_is_in_the_log_of_a_server_that_logs_statements(server: EmbeddedPostgres) -> None:
    with connect(server.url("secret"), autocommit=True) as connection:
        connection.execute("alter system set log_statement = 'all'")
        connection.execute("select pg_reload_conf()")
    passwords = {role: f"password-of-{role}" for role in Role}
    urls = bootstrap(server.url("secret"), database="mesocycle", passwords=passwords)
    for url in urls.values():
        connect(url).close()
    log = server.log_file.read_text()
    assert "create role" in log
    assert not [password for password in passwords.values() if password in log]


def test_a_cluster_whose_making_was_interrupted_is_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "postgres" / "data"
    folder.mkdir(parents=True)
    (folder / "half").write_text("made")
    EmbeddedPostgres(folder, 5999).create("secret")
    assert (folder / "PG_VERSION").exists()
    assert not (folder / "half").exists()
