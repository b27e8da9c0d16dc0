"""The command line as people and scripts meet it: real processes, exit statuses, one sentence for a mistake, JSON alone on stdout."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hushwire import __version__
from hushwire.app.folders import Folders, locked

TOP = Path(__file__).parents[2]
EXAMPLE = TOP / "config" / "example-provision.toml"


def run(*arguments: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HUSHWIRE_")}
    environ = {**kept, "HUSHWIRE_CONFIG": "", "PYTHONPATH": str(TOP / "src")}
    if folder is not None:
        environ["HUSHWIRE_DATA__DIR"] = str(folder / "data")
    command = [sys.executable, "-m", "hushwire", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environ, check=False, timeout=120)


def mistake(done: subprocess.CompletedProcess[str]) -> str:
    """What a failed command said: on stderr, in sentences, never a traceback."""
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert all(line.startswith("hushwire: ") for line in lines)
    return "\n".join(lines)


def test_the_version_is_the_packages_own() -> None:
    assert run("--version").stdout == f"hushwire {__version__}\n"
    assert f'version = "{__version__}"' in (TOP / "pyproject.toml").read_text()


def test_every_command_explains_itself_and_takes_a_configuration() -> None:
    commands = [
        "up",
        "gateway",
        "api",
        "worker",
        "sms",
        "apply",
        "check",
        "doctor",
        "demo",
        "verify-receipt",
        "verify-store",
        "keygen",
        "prove-key",
        "open-recording",
    ]
    for command in [[name] for name in commands] + [["countries", "set"], ["audit", "verify"]]:
        done = run(*command, "--help")
        assert done.returncode == 0
        assert "--config" in done.stdout


def test_verify_store_says_in_its_exit_status_whether_the_store_is_whole(data_folder: Path) -> None:
    done = run("verify-store", "--deep", "--json", folder=data_folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) | {"seconds": 0} == {
        "ok": True, "objects": 0, "recordings": 0, "bytes": 0, "seconds": 0, "waiting": 0, "to_sweep": 0, "opened": 0, "withheld": 0,
        "counts": {}, "faults": [],
    }  # fmt: skip
    planted = data_folder / "data" / "store" / "recordings" / "a name that somebody chose"
    planted.parent.mkdir(parents=True, exist_ok=True)
    planted.write_bytes(b"x")
    done = run("verify-store", folder=data_folder)
    assert done.returncode == 1
    assert "orphaned" in done.stdout
    assert "somebody" not in done.stdout + done.stderr
    assert "--region" in mistake(run("verify-store", "--region", "mars", folder=data_folder))


def test_apply_twice_changes_nothing_the_second_time_and_hands_out_secrets_once(data_folder: Path) -> None:
    secrets = data_folder / "secrets.json"
    first = run("apply", EXAMPLE, "--secrets-out", secrets, "--json", folder=data_folder)
    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout)["changed"] is True
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
    handed = json.loads(secrets.read_text())
    assert set(handed["agents"]) == {"acme/anna", "acme/ben"}
    assert handed["api_keys"]["acme/ci"].startswith("hw_")
    second = run("apply", EXAMPLE, "--secrets-out", secrets, "--json", folder=data_folder)
    assert json.loads(second.stdout) == {"changed": False, "changes": [], "kept": []}
    assert json.loads(secrets.read_text()) == handed
    assert "Nothing to change" in run("apply", EXAMPLE, folder=data_folder).stdout


def test_countries_and_check_agree(data_folder: Path) -> None:
    assert run("apply", EXAMPLE, folder=data_folder).returncode == 0
    refused = run("check", "+33123456789", "--agent", "acme/anna", "--json", folder=data_folder)
    assert refused.returncode == 1
    assert json.loads(refused.stdout)["verdict"] == "deny"
    changed = run("countries", "set", "acme", "FR", "--json", folder=data_folder)
    assert json.loads(changed.stdout) == {"org": "acme", "allowed_countries": ["FR"], "changed": True}
    allowed = run("check", "+33123456789", "--agent", "anna", "--json", folder=data_folder)
    assert allowed.returncode == 0
    assert json.loads(allowed.stdout)["number"] == "+33123456789"
    assert 'no organisation "nobody"' in mistake(run("countries", "set", "nobody", "FR", folder=data_folder))
    assert 'no agent "zoe"' in mistake(run("check", "112", "--agent", "zoe", folder=data_folder))
    assert json.loads(run("audit", "verify", "--json", folder=data_folder).stdout)["whole"] is True


def test_a_do_not_call_list_is_imported_and_a_line_that_is_no_number_is_named_by_its_place(data_folder: Path) -> None:
    assert run("apply", EXAMPLE, folder=data_folder).returncode == 0
    numbers = data_folder / "numbers.txt"
    numbers.write_text("# asked by letter\n+493023125777\n030 23125778  # twice\n\n004930 23125778\n")
    first = run("do-not-call", "import", "acme", numbers, "--json", folder=data_folder)
    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout) == {"org": "acme", "added": 2, "count": 2}
    assert json.loads(run("do-not-call", "import", "acme", numbers, "--json", folder=data_folder).stdout)["added"] == 0
    numbers.write_text("+493023125779\n\nnobody\n")
    said = mistake(run("do-not-call", "import", "acme", numbers, folder=data_folder))
    assert "line 3" in said
    assert "nobody" not in said.replace(str(numbers), "")
    assert 'no organisation "nowhere"' in mistake(run("do-not-call", "import", "nowhere", numbers, folder=data_folder))
    assert "can't be read" in mistake(run("do-not-call", "import", "acme", data_folder / "none.txt", folder=data_folder))


def test_a_broken_file_is_refused_before_anything_is_started(data_folder: Path) -> None:
    broken = data_folder / "broken.toml"
    broken.write_text('[[orgs]]\nslug = "a b"')
    assert 'orgs[1] "a b" slug' in mistake(run("apply", broken, folder=data_folder))
    assert not (data_folder / "data").exists()


def test_secrets_do_not_overwrite_a_file_of_another_kind(data_folder: Path) -> None:
    other = data_folder / "other.txt"
    other.write_text("precious")
    assert "--secrets-out" in mistake(run("apply", EXAMPLE, "--secrets-out", other, folder=data_folder))
    assert other.read_text() == "precious"


def test_a_country_that_is_none_is_named() -> None:
    assert "'UK'" in mistake(run("countries", "set", "acme", "UK", folder=Path("/nonexistent")))


def test_a_second_up_on_the_same_data_folder_is_refused(data_folder: Path) -> None:
    with locked(Folders(data_folder / "data")) as ours:
        assert ours
        said = mistake(run("up", folder=data_folder))
    assert f"another hushwire (process {os.getpid()}) is using" in said


def test_a_missing_data_folder_setting_is_said() -> None:
    assert "[data]: is missing" in mistake(run("up"))


def test_a_role_alone_asks_for_a_server_of_its_own(data_folder: Path) -> None:
    done = run("gateway", folder=data_folder)
    assert done.returncode == 1
    assert "[database] dsn" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_root_key_that_is_missing_over_data_is_never_made_anew(data_folder: Path) -> None:
    assert run("apply", EXAMPLE, folder=data_folder).returncode == 0
    key = data_folder / "data" / "keys" / "root"
    kept = key.read_text()
    key.unlink()
    assert "never makes a new one" in mistake(run("apply", EXAMPLE, folder=data_folder))
    assert not key.exists()
    key.write_text("hushwire-root-1 " + "A" * 43 + "=\n")
    key.chmod(0o600)
    assert "another deployment" in mistake(run("apply", EXAMPLE, folder=data_folder))
    key.write_text(kept)
    assert run("apply", EXAMPLE, folder=data_folder).returncode == 0


def test_the_doctor_finds_what_is_wrong_and_says_so(data_folder: Path) -> None:
    (data_folder / "data" / "pg" / "keyring").mkdir(parents=True)
    done = run("doctor", "--json", folder=data_folder)
    findings = {entry["name"]: entry for entry in json.loads(done.stdout)["findings"]}
    assert done.returncode == 1
    assert not findings["root key"]["ok"]
    assert "safe copy" in findings["root key"]["detail"]
    assert findings["embedded PostgreSQL"]["ok"]


def test_a_receipt_that_is_none_is_rejected_offline(tmp_path: Path) -> None:
    (tmp_path / "receipt.json").write_text("{}")
    (tmp_path / "keys.json").write_text('{"keys": []}')
    done = run("verify-receipt", tmp_path / "receipt.json", "--keys", tmp_path / "keys.json", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["valid"] is False


@pytest.mark.parametrize("arguments", [["nonsense"], ["apply"], ["check", "112"]])
def test_wrong_usage_is_explained_with_status_2(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_an_audit_export_is_verified_offline_and_a_changed_one_is_refused(tmp_path: Path) -> None:
    stored = json.loads((TOP / "tests" / "vectors" / "audit" / "vectors.json").read_bytes())
    (tmp_path / "keys.json").write_text(json.dumps(stored["keys"]))
    for vector in stored["vectors"]:
        if vector["name"] not in ("whole", "removed", "rewritten-against-signed-heads"):
            continue
        (tmp_path / "export.jsonl").write_text(vector["export"])
        done = run("audit", "verify", "--export", tmp_path / "export.jsonl", "--keys", tmp_path / "keys.json", "--json", folder=tmp_path)
        (found,) = json.loads(done.stdout)["organisations"]
        assert (found["kind"], done.returncode) == (vector["kind"], 0 if vector["kind"] is None else 1)
        assert found["broken_at"] == vector["at"]
    assert not (tmp_path / "data").exists()
    assert "--keys" in mistake(run("audit", "verify", "--export", tmp_path / "export.jsonl", folder=tmp_path))


def test_a_breach_is_registered_by_the_operator_and_nonsense_is_told_in_a_sentence(data_folder: Path) -> None:
    assert run("apply", EXAMPLE, folder=data_folder).returncode == 0
    begin = ["--from", "2026-03-01T12:00:00Z"]
    done = run("breach", "register", "--credential", "agent:anna@acme", *begin, "--json", folder=data_folder)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["cases"] == []  # nothing was read with it
    words = mistake(run("breach", "register", "--credential", "agent:nobody@acme", *begin, folder=data_folder))
    assert "no such agent" in words
    assert "api-key:<id>" in mistake(run("breach", "register", "--credential", "root", *begin, folder=data_folder))
    assert "must be over" in mistake(
        run("breach", "register", "--credential", "agent:anna@acme", *begin, "--to", "2999-01-01T00:00:00Z", folder=data_folder)
    )
    assert "no time" in mistake(run("breach", "register", "--credential", "agent:anna@acme", "--from", "yesterday", folder=data_folder))
