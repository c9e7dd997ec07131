"""The TypeScript examples: their types come from the API's own document, they compile strictly, and talk to the running API."""

import asyncio
import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from api.app import Application, create_app
from api.server import configuration
from tests.api.conftest import Keys, settings_for
from tests.conftest import PROJECT, Database

EXAMPLE = PROJECT / "docs" / "examples" / "onboarding"
READING = PROJECT / "docs" / "examples" / "reading"

MAIN = """
import { Onboarding } from "./onboarding";
const [base, token] = process.argv.slice(2);
const onboarding = new Onboarding(base, async () => token, { anonymousId: "device-9", platform: "ios", appVersion: "3.4.1" });
onboarding.report({ step: "welcome", eventType: "started" });
onboarding.report({ step: "welcome", eventType: "completed", durationMs: 5200 });
onboarding.report({ step: "account", eventType: "error", errorCode: "email_taken" });
const first = await onboarding.send();
const nothing = await onboarding.send();
onboarding.report({ step: "account", eventType: "completed", userId: "anna" });
const second = await onboarding.send();
onboarding.report({ step: "goal", eventType: "started" });
const overlapping = [onboarding.send(), onboarding.send()];
onboarding.report({ step: "goal", eventType: "completed" });
const once = await Promise.all(overlapping);
const later = await onboarding.send();
let expired = true;
const offline = new Onboarding(base, async () => (expired ? "expired" : token), { anonymousId: "device-9" });
offline.report({ step: "level", eventType: "started" });
const refused = await offline.send();
expired = false;
const accepted = await offline.send();
const unreachable = new Onboarding("http://127.0.0.1:9", async () => token, { anonymousId: "device-9" });
unreachable.report({ step: "level", eventType: "started" });
const unanswered = await unreachable.send();
console.log(JSON.stringify({
  first, nothing: nothing === undefined, second, isOnce: once[0] === once[1], later,
  waits: refused === undefined && unanswered === undefined, accepted,
}));
"""


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example with its tools installed; skips where node or its packages aren't to be had."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not installed")
    folder = tmp_path_factory.mktemp("typescript")
    for file in (*EXAMPLE.glob("*.*"), *READING.glob("*.ts")):
        shutil.copy(file, folder)
    command = ["npm", "install", "--no-audit", "--no-fund", "--prefer-offline", "--silent"]
    try:
        installed = subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=120).returncode == 0
    except subprocess.TimeoutExpired:
        installed = False
    if not installed:
        pytest.skip("TypeScript can't be installed here")
    return folder


def served(application: Application) -> Iterator[str]:
    """The application's address while it listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = uvicorn.Server(configuration(application.state.settings, host="127.0.0.1", port=port, application=application))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        thread.join(0.05)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(15)


@pytest.fixture
def base_url(database: Database, keys: Keys) -> Iterator[tuple[str, dict]]:
    application = create_app(settings_for(database, keys))
    for address in served(application):
        yield address, application.openapi()


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_compiles_against_the_documents_types_and_its_events_arrive(
    workshop: Path, base_url: tuple[str, dict], database: Database, keys: Keys
) -> None:
    address, document = base_url
    (workshop / "openapi.json").write_text(json.dumps(document))
    (workshop / "main.ts").write_text(MAIN.replace("process.argv", "(globalThis as any).process.argv"))
    run(workshop, "npm", "run", "types")
    run(workshop, "npx", "tsc", "--noEmit")
    run(workshop, "npx", "tsc")
    for file in (workshop / "build").glob("*.js"):
        file.write_text(file.read_text().replace('from "./onboarding"', 'from "./onboarding.js"'))
    answer = json.loads(run(workshop, "node", "build/main.js", address, keys.token("app", "service")))
    assert answer["first"]["accepted"] == 3
    assert answer["nothing"] is True
    assert [result["status"] for result in answer["second"]["results"]] == ["accepted"]
    assert answer["isOnce"], "two calls at once are one request"
    assert answer["later"]["accepted"] == 1, "what was reported while a request ran waits for the next one"
    assert answer["waits"], "an expired token or no network loses nothing"
    assert answer["accepted"]["accepted"] == 1
    with database.connect() as connection:
        rows = connection.execute(
            "select step, event_type, platform, duration_ms, error_code from app.onboarding_events order by occurred_at, received_at, event_type"
        ).fetchall()
        linked = connection.execute("select user_id from app.identity_links join app.users using (user_key)").fetchall()
    assert sorted(row[:2] for row in rows) == [
        ("account", "completed"),
        ("account", "error"),
        ("goal", "completed"),
        ("goal", "started"),
        ("level", "started"),
        ("welcome", "completed"),
        ("welcome", "started"),
    ]
    assert linked == [("anna",)]


def test_a_wrong_step_event_does_not_compile(workshop: Path, base_url: tuple[str, dict]) -> None:
    (workshop / "openapi.json").write_text(json.dumps(base_url[1]))
    (workshop / "main.ts").write_text(
        'import { Onboarding } from "./onboarding";\nnew Onboarding("", async () => "").report({ step: "goal", eventType: "finished" });\n'
    )
    run(workshop, "npm", "run", "types")
    done = subprocess.run(["npx", "tsc", "--noEmit"], cwd=workshop, capture_output=True, text=True, check=False, timeout=120)
    assert "finished" in done.stdout


READ = """
import { ApiProblem, Progress } from "./progress";
declare const process: { argv: string[] };
const [base, token] = process.argv.slice(2);
const progress = new Progress(base, async () => token);
const summary = await progress.read("/api/v1/summary/{userId}", "lifter", { range: "90d" });
const workouts: number = summary.workouts;
const again = await progress.read("/api/v1/summary/{userId}", "lifter", { range: "90d" });
const page = await progress.read("/api/v1/records/{userId}", "lifter", { limit: 2 });
const heaviest: number[] = page.records.map((record) => record.value);
let problem = "";
try {
  await progress.read("/api/v1/summary/{userId}", "nobody");
} catch (error) {
  if (!(error instanceof ApiProblem)) throw error;
  problem = error.problem.type;
}
console.log(JSON.stringify({ workouts, isKept: again === summary, heaviest, next: page.nextCursor ?? null, problem }));
"""
WRONG = {
    'await progress.read("/api/v1/summary/{userId}", "lifter", { range: "31d" })': "31d",
    'await progress.read("/api/v1/summaries/{userId}", "lifter")': "summaries",
    '(await progress.read("/api/v1/records/{userId}", "lifter")).workouts': "workouts",
}


@pytest.fixture
def address(built_template: Database, keys: Keys) -> Iterator[str]:
    yield from served(create_app(settings_for(built_template, keys)))


def test_reads_are_typed_and_an_unchanged_answer_is_not_sent_again(
    workshop: Path, address: str, built_template: Database, keys: Keys
) -> None:
    document = create_app(settings_for(built_template, keys)).openapi()
    for file in workshop.glob("*.ts"):
        if file.name not in ("progress.ts", "onboarding.ts"):
            file.unlink()
    (workshop / "openapi.json").write_text(json.dumps(document))
    run(workshop, "npm", "run", "types")
    (workshop / "main.ts").write_text(READ)
    run(workshop, "npx", "tsc")
    for file in (workshop / "build").glob("*.js"):
        file.write_text(file.read_text().replace('from "./progress"', 'from "./progress.js"'))
    answer = json.loads(run(workshop, "node", "build/main.js", address, keys.token("app", "service")))
    assert answer["workouts"] > 0
    assert answer["isKept"] is True
    assert len(answer["heaviest"]) == 2
    assert answer["next"]
    assert answer["problem"] == "urn:mesocycle:problem:user-not-found"
    for number, line in enumerate(WRONG):
        (workshop / f"wrong{number}.ts").write_text(
            f'import {{ Progress }} from "./progress";\nconst progress = new Progress("", async () => "");\n{line};\nexport {{}};\n'
        )
    done = subprocess.run(["npx", "tsc", "--noEmit"], cwd=workshop, capture_output=True, text=True, check=False, timeout=120)
    for number, culprit in enumerate(WRONG.values()):
        assert any(found.startswith(f"wrong{number}.ts(3") and culprit in found for found in done.stdout.splitlines()), done.stdout
