"""The configuration: every key checked, every mistake named with its file or variable."""

from pathlib import Path

import pytest

from hushwire.app.config import Config, Listen, load
from hushwire.core.errors import ConfigError

TOP = Path(__file__).parents[2]


def written(folder: Path, text: str) -> Path:
    path = folder / "hushwire.toml"
    path.write_text(text)
    return path


def mistakes(path: Path | None, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, environ or {})
    return str(caught.value).splitlines()


def test_a_data_folder_alone_is_enough_to_run(tmp_path: Path) -> None:
    config = load(written(tmp_path, '[data]\ndir = "state"'), {})
    assert config.data.dir == tmp_path / "state"
    assert [str(item) for item in config.sip.listen] == ["udp://127.0.0.1:5060", "tcp://127.0.0.1:5060", "tls://127.0.0.1:5061"]
    assert str(config.api.listen) == "https://127.0.0.1:8443"
    assert config.run.user == "nobody"
    assert config.is_embedded


def test_the_shipped_configuration_loads_and_names_every_key() -> None:
    path = TOP / "config" / "hushwire.toml"
    load(path, {})
    text = path.read_text()
    for section, field in Config.model_fields.items():
        assert f"[{section}]" in text
        for key in field.annotation.model_fields:  # type: ignore[union-attr]
            assert f"{key} = " in text or f"{key}." in text, f"[{section}] {key} is not documented"


def test_all_mistakes_are_listed_at_once_with_file_key_and_mend(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        colour = "red"
        [data]
        dir = 3
        regoin = "eu"
        [sip]
        listen = ["udp://127.0.0.1:5060", "sctp://127.0.0.1:5060"]
        [api]
        listen = "http://0.0.0.0:80"
        [media]
        ports = "9-3"
        [limits]
        idle_s = 1
        [keys]
        provider = "paper"
        """,
    )
    lines = mistakes(path)
    assert all(line.startswith(f"{path}: ") for line in lines)
    for key, mend in {
        "[data] dir": "must be a path in quotes",
        "[data] regoin": "correct the spelling or remove it",
        "[sip] listen.1": "tls://127.0.0.1:5061",
        "[api] listen": "use https://",
        "[media] ports": "between 1024 and 65535",
        "[limits] idle_s": "greater than or equal to 10",
        "[keys] provider": "'file' or 'environment'",
        "[colour]": "knows no such key",
    }.items():
        assert any(key in line and mend in line for line in lines), (key, lines)
    assert len(lines) == 8


def test_the_environment_overrides_the_file_and_is_named_in_mistakes(tmp_path: Path) -> None:
    path = written(tmp_path, '[data]\ndir = "a"\n[sip]\ndomain = "one.example"')
    config = load(
        path, {"HUSHWIRE_SIP__DOMAIN": "two.example", "HUSHWIRE_LIMITS__CALLS": "7", "HUSHWIRE_STORE__REGIONS": '{"eu": "file:///x"}'}
    )
    assert (config.sip.domain, config.limits.calls, config.store.regions) == ("two.example", 7, {"eu": "file:///x"})
    assert mistakes(path, {"HUSHWIRE_SIP__DOMIAN": "x"}) == [
        "HUSHWIRE_SIP__DOMIAN: [sip] domian: hushwire knows no such key: correct the spelling or remove it"
    ]
    assert mistakes(path, {"HUSHWIRE_LIMITS__CALLS": "many"}) == [
        "HUSHWIRE_LIMITS__CALLS: [limits] calls: must be a whole number without quotes"
    ]
    assert mistakes(path, {"HUSHWIRE_NOPE__X": "1"})[0].startswith("HUSHWIRE_NOPE__X: [nope]")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[data", "is not TOML"),
        ('[data]\ndir = "a"\n[tls]\nkey = "x"', "give certificate and key together"),
        ('[data]\ndir = "a"\n[media]\nports = "30000-31000"\nshared_ports = "30500-30600"', "overlap"),
        ('[data]\ndir = "a"\n[sip]\ndomain = "Not A Host"', "lower-case host name"),
        ('[data]\ndir = "a"\n[sip]\nlisten = []', "must not be empty"),
        ('[data]\ndir = "a"\n[sip]\nlisten = ["tcp://127.0.0.1:5060", "tls://127.0.0.1:5060"]', "takes already"),
        ('[data]\ndir = "a"\n[sip]\nlisten = ["udp://localhost:5060"]', "an IP address and a port"),
        ('[data]\ndir = "a"\n[database]\ndsn = "mysql://x"', "postgresql://"),
        ('[data]\ndir = "a"\n[store]\nregions.eu = "ftp://x"', "s3://bucket/prefix"),
        ('[data]\ndir = "a"\n[mail]\nsmtp = "mail.example.org"', "smtps://"),
        ("sip = 3\n[data]\ndir = 'a'", "[sip]: must be a table"),
    ],
)
def test_an_impossible_value_says_how_to_mend_it(tmp_path: Path, text: str, said: str) -> None:
    assert said in "\n".join(mistakes(written(tmp_path, text)))


def test_a_missing_file_is_said_in_one_sentence(tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path / "none.toml")
    assert "there is no such file" in line


def test_no_data_folder_is_a_mistake() -> None:
    assert mistakes(None, {"HUSHWIRE_CONFIG": ""}) == ["configuration: [data]: is missing: add it"]


def test_children_get_exactly_the_same_configuration_through_the_environment(tmp_path: Path) -> None:
    text = """
        [data]
        dir = "state"
        [sip]
        listen = ["udp://[::1]:0", "tls://127.0.0.1:5061"]
        domain = "voice.example.org"
        default_org = "123"
        [media]
        ports = "30000-30999"
        [store]
        regions.eu = "file:///srv/x"
        [run]
        log = "json"
    """
    config = load(written(tmp_path, text), {})
    assert load(None, config.to_environment()).model_dump() == config.model_dump()


def test_zero_means_any_free_media_port(tmp_path: Path) -> None:
    assert load(written(tmp_path, '[data]\ndir = "a"\n[media]\nports = 0'), {}).media.ports is None
    assert load(written(tmp_path, '[data]\ndir = "a"'), {"HUSHWIRE_MEDIA__PORTS": "0"}).media.ports is None


def test_http_in_the_clear_is_for_loopback_only(tmp_path: Path) -> None:
    config = load(written(tmp_path, '[data]\ndir = "a"\n[api]\nlisten = "http://127.0.0.1:0"'), {})
    assert config.api.listen == Listen(scheme="http", host="127.0.0.1", port=0)


@pytest.mark.parametrize("zone2", ["a", "a/zone2", "."])
def test_a_second_zone_inside_the_data_folder_or_around_it_is_refused(tmp_path: Path, zone2: str) -> None:
    with pytest.raises(ConfigError, match=r"\[zone2\] dir: must lie outside"):
        load(written(tmp_path, f'[data]\ndir = "a"\n[zone2]\ndir = "{zone2}"'), {})


def test_the_second_zone_is_named_from_the_files_folder_and_reaches_the_children(tmp_path: Path) -> None:
    config = load(written(tmp_path, '[data]\ndir = "a"\n[zone2]\ndir = "b"'), {})
    assert config.zone2.dir == tmp_path / "b"
    assert load(None, config.to_environment()).zone2.dir == tmp_path / "b"


@pytest.mark.parametrize(
    "text",
    ['smtp = "mail.example.org"', 'smtp = "http://mail.example.org"', 'smtp = "smtps://mail.example.org:99999"', 'smtp = "smtps://"',
     'smtp = "smtps://m.example.org/x"', 'sender = "privacy"', 'sender = "a@b.de\\r\\nBcc: c@d.de"', 'password = ""'],
)  # fmt: skip
def test_a_mail_server_or_sender_that_is_none_is_refused_without_a_secret_in_the_words(tmp_path: Path, text: str) -> None:
    (line,) = mistakes(written(tmp_path, f'[data]\ndir = "state"\n[mail]\n{text}'))
    assert "[mail]" in line
    assert "Bcc" not in line


def test_the_mail_servers_password_comes_from_the_environment_and_shows_in_no_representation(tmp_path: Path) -> None:
    path = written(tmp_path, '[data]\ndir = "state"\n[mail]\nsmtp = "smtps://me:other@mail.example.org"\nauthorities = "ca.pem"')
    config = load(path, {"HUSHWIRE_MAIL__PASSWORD": "hunter-two"})
    assert (config.mail.password, config.mail.authorities) == ("hunter-two", tmp_path / "ca.pem")
    assert "hunter-two" not in repr(config)
    assert "other" not in repr(config)


@pytest.mark.parametrize("code", ["2", "#2", "*2#", "*12345", "* 2"])
def test_a_code_that_is_keyed_in_calls_begins_with_a_star_and_has_no_hash(code: str) -> None:
    with pytest.raises(ConfigError):
        load(None, {"HUSHWIRE_DATA__DIR": "/nowhere", "HUSHWIRE_FEATURES__TRANSFER_BY_KEYS": code})
