"""Configuring, opening and destroying a room; forms that are none."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaphone.rooms.configuration import FIELDS
from megaphone.rooms.ports import AllowPM, Role, RoomConfig, Whois
from tests.unit.rooms.town import ROOM, SETTINGS, SUBMIT, Town, condition, person

DATA = "{jabber:x:data}"


def configure(town: Town, fields: str, name: str = "romeo", type_: str = "submit") -> str:
    """The condition that refuses a form, "" if it was taken."""
    x = f"<x xmlns='jabber:x:data' type='{type_}'>{fields}</x>"
    town.say(name, f"<iq to='{ROOM}' type='set' id='f'><query xmlns='muc#owner'>{x}</query></iq>")
    (answer,) = (each for each in town.taken(name) if each.tag == "{jabber:client}iq")
    return condition(answer)


def field(name: str, *values: str) -> str:
    return f"<field var='muc#roomconfig_{name}'>{''.join(f'<value>{value}</value>' for value in values)}</field>"


def form(town: Town) -> dict[str, list[str]]:
    """The values of the configuration form."""
    town.say("romeo", f"<iq to='{ROOM}' type='get' id='f'><query xmlns='muc#owner'/></iq>")
    (answer,) = town.taken("romeo")
    return {
        each.get("var", "").removeprefix("muc#roomconfig_"): [
            value.text or "" for value in each.findall(f"{DATA}value")
        ]
        for each in answer.iter(f"{DATA}field")
    }


def test_what_is_put_in_comes_out_and_persists() -> None:
    town = Town()
    town.enter("romeo")
    values = {
        "roomname": ["Verona &amp; others"],
        "roomdesc": ["Fair", "city"],
        "persistentroom": ["1"],
        "publicroom": ["0"],
        "membersonly": ["true"],
        "moderatedroom": ["1"],
        "allowinvites": ["false"],
        "changesubject": ["1"],
        "maxusers": ["50"],
        "whois": ["anyone"],
        "allowpm": ["participants"],
        "presencebroadcast": ["visitor", "moderator"],
        "historylength": ["7"],
        "passwordprotectedroom": ["1"],
        "roomsecret": ["s3"],
        "enablelogging": ["1"],
    }
    assert configure(town, "".join(field(name, *given) for name, given in values.items())) == ""
    config = RoomConfig(
        name="Verona & others", description="Fair\ncity", persistent=True, public=False, members_only=True,
        moderated=True, password="s3", max_users=50, whois=Whois.ANYONE, change_subject=True,
        allow_pm=AllowPM.PARTICIPANTS, allow_invites=False, presence_broadcast=(Role.MODERATOR, Role.VISITOR),
        history_length=7,
    )  # fmt: skip
    assert town.store.records[ROOM].config == config
    values["membersonly"], values["allowinvites"] = ["1"], ["0"]
    values["presencebroadcast"] = ["moderator", "visitor"]
    values["roomname"] = ["Verona & others"]
    del values["enablelogging"]
    assert form(town) == values | {"FORM_TYPE": ["http://jabber.org/protocol/muc#roomconfig"]}
    again = Town(store=town.store, archive=town.archive)
    again.rooms.load()
    assert again.rooms.room(ROOM).config == config  # type: ignore[union-attr]
    assert again.rooms.room(ROOM).secret == town.rooms.room(ROOM).secret  # type: ignore[union-attr]
    assert list(again.rooms.room(ROOM).affiliations) == list(town.rooms.room(ROOM).affiliations)  # type: ignore[union-attr]


@given(
    st.builds(
        RoomConfig,
        name=st.text(max_size=5),
        max_users=st.integers(0, 100),
        whois=st.sampled_from(Whois),
        presence_broadcast=st.lists(st.sampled_from(Role), max_size=3).map(tuple),
        public=st.booleans(),
    )
)
def test_configuration_survives_its_values(config: RoomConfig) -> None:
    assert RoomConfig.of(config.values() | {"of_another_version": 1}) == config


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        (field("roomname", "n" * 201), "not-acceptable"),
        (field("roomdesc", *["n" * 500] * 4, ""), "not-acceptable"),
        (field("roomsecret", "n" * 201), "not-acceptable"),
        (field("passwordprotectedroom", "1"), "not-acceptable"),
        (field("passwordprotectedroom", "perhaps"), "not-acceptable"),
        (field("publicroom", "0", "1"), "not-acceptable"),
        (field("publicroom"), "not-acceptable"),
        (field("maxusers", "0"), "not-acceptable"),
        (field("maxusers", "-1"), "not-acceptable"),
        (field("maxusers", "\u0663"), "not-acceptable"),
        (field("maxusers", "9" * 5000), "not-acceptable"),
        (field("maxusers", "20001"), "not-acceptable"),
        (field("historylength", "201"), "not-acceptable"),
        (field("historylength", "many"), "not-acceptable"),
        (field("whois", "everybody"), "not-acceptable"),
        (field("allowpm", ""), "not-acceptable"),
        (field("presencebroadcast", "king"), "not-acceptable"),
        (field("presencebroadcast", "none"), "not-acceptable"),
        (field("roomname", "a") * 2, "bad-request"),
        ("<field><value>1</value></field>", "bad-request"),
        ("<field var='FORM_TYPE'><value>urn:other</value></field>", "bad-request"),
        ("".join(f"<field var='v{number}'/>" for number in range(101)), "policy-violation"),
        ("<field type='fixed'><value>About</value></field>", ""),
        ("<field var='muc#roomconfig_pubsub'><value>x</value></field>" + field("maxusers", "none"), ""),
        (field("presencebroadcast"), ""),
        ("junk <x/>", ""),
    ],
)
def test_hostile_forms_change_nothing(fields: str, answer: str) -> None:
    town = Town()
    town.enter("romeo", "juliet")
    before = town.rooms.room(ROOM).config  # type: ignore[union-attr]
    assert configure(town, fields) == answer
    if answer:
        assert town.rooms.room(ROOM).config == before  # type: ignore[union-attr]
        assert town.taken("juliet") == []


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("", "bad-request"),
        ("<x xmlns='jabber:x:data'/>", "bad-request"),
        ("<x xmlns='jabber:x:data' type='form'/>", "bad-request"),
        ("<x xmlns='jabber:x:data' type='cancel'/>", ""),
        ("<destroy jid='@'/>", "jid-malformed"),
    ],
)
def test_other_requests_of_owners(query: str, answer: str) -> None:
    town = Town()
    town.enter("romeo", "juliet")
    for name, expected in (("juliet", "forbidden"), ("romeo", answer)):
        town.say(name, f"<iq to='{ROOM}' type='set' id='f'><query xmlns='muc#owner'>{query}</query></iq>")
        (said,) = town.taken(name)
        assert condition(said) == expected
    assert town.rooms.room(ROOM) is not None
    town.say("juliet", f"<iq to='{ROOM}' type='get' id='f'><query xmlns='muc#owner'/></iq>")
    assert [condition(each) for each in town.taken("juliet")] == ["forbidden"]


def test_occupants_hear_of_changes() -> None:
    town = Town()
    town.enter("romeo", "juliet")
    town.play(f"""
romeo >> <iq to='verona@r.x' type='set' id='1'><query xmlns='muc#owner'>{SUBMIT}>{field("whois", "anyone")}
           {field("roomname", "N")}</x></query></iq>
romeo << <iq from='verona@r.x' type='result' id='1'/>
romeo << <message from='verona@r.x' type='groupchat'><x xmlns='muc#user'><status code='104'/><status code='172'/>
           </x></message>
juliet << <message from='verona@r.x' type='groupchat'><x xmlns='muc#user'><status code='104'/><status code='172'/>
           </x></message>
romeo >> <iq to='verona@r.x' type='set' id='2'><query xmlns='muc#owner'>{SUBMIT}>{field("whois", "moderators")}</x>
           </query></iq>
romeo << <iq from='verona@r.x' type='result' id='2'/>
romeo << <message from='verona@r.x' type='groupchat'><x xmlns='muc#user'><status code='173'/></x></message>
juliet << <message from='verona@r.x' type='groupchat'><x xmlns='muc#user'><status code='173'/></x></message>
romeo >> <iq to='verona@r.x' type='set' id='3'><query xmlns='muc#owner'>{SUBMIT}>{field("whois", "moderators")}</x>
           </query></iq>
romeo << <iq from='verona@r.x' type='result' id='3'/>
romeo >> <iq to='verona@r.x' type='set' id='4'><query xmlns='muc#owner'>{SUBMIT}>{field("membersonly", "1")}</x>
           </query></iq>
romeo << <iq from='verona@r.x' type='result' id='4'/>
romeo << <message from='verona@r.x' type='groupchat'><x xmlns='muc#user'><status code='104'/></x></message>
juliet << <message from='verona@r.x' type='groupchat'><x xmlns='muc#user'><status code='104'/></x></message>
romeo << <presence from='verona@r.x/juliet' type='unavailable'><x xmlns='muc#user'>
           <item affiliation='none' role='none' jid='juliet@x/c'/>
           <status code='322'/></x></presence>
juliet << <presence from='verona@r.x/juliet' type='unavailable'><x xmlns='muc#user'>
           <item affiliation='none' role='none' jid='juliet@x/c'/>
           <status code='110'/><status code='322'/></x></presence>
""")


def test_presence_broadcast_shows_and_hides() -> None:
    town = Town()
    town.enter("romeo", "juliet")
    item = "<item affiliation='none' role='none' jid='juliet@x/c'/>"
    hidden = f"<presence from='verona@r.x/juliet' type='unavailable'><x xmlns='muc#user'>{item}</x></presence>"
    town.play(f"""
romeo >> <iq to='verona@r.x' type='set' id='1'><query xmlns='muc#owner'>{SUBMIT}>
           {field("presencebroadcast", "moderator")}</x></query></iq>
romeo << <iq from='verona@r.x' type='result' id='1'/>
romeo << <message from='verona@r.x' type='groupchat'><x xmlns='muc#user'><status code='104'/></x></message>
juliet << <message from='verona@r.x' type='groupchat'><x xmlns='muc#user'><status code='104'/></x></message>
romeo << {hidden}
romeo >> <iq to='verona@r.x' type='set' id='2'><query xmlns='muc#owner'>{SUBMIT}>
           {field("presencebroadcast", "participant")}</x></query></iq>
romeo << <iq from='verona@r.x' type='result' id='2'/>
romeo << <message from='verona@r.x' type='groupchat'><x xmlns='muc#user'><status code='104'/></x></message>
juliet << <message from='verona@r.x' type='groupchat'><x xmlns='muc#user'><status code='104'/></x></message>
juliet << <presence from='verona@r.x/romeo' type='unavailable'><x xmlns='muc#user'>
           <item affiliation='owner' role='none'/></x></presence>
romeo << <presence from='verona@r.x/juliet'><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='juliet@x/c'/></x></presence>
""")


def test_a_new_room_is_given_up() -> None:
    town = Town()
    town.say("romeo", "<presence to='verona@r.x/romeo'><x xmlns='muc'/></presence>")
    town.inboxes.clear()
    town.play("""
romeo >> <iq to='verona@r.x' type='set' id='1'><query xmlns='muc#owner'><x xmlns='jabber:x:data' type='cancel'/>
           </query></iq>
romeo << <presence from='verona@r.x/romeo' type='unavailable'><x xmlns='muc#user'>
           <item affiliation='none' role='none'/><destroy/><status code='110'/></x></presence>
romeo << <iq from='verona@r.x' type='result' id='1'/>
romeo >> <message to='verona@r.x' type='groupchat' id='2'/>
romeo << <message from='verona@r.x' type='error' id='2'><error type='cancel'><item-not-found xmlns='stanzas'/>
           </error></message>
""")
    assert len(town.rooms) == 0


def test_destroyed() -> None:
    town = Town()
    town.enter("romeo")
    town.configure(persistentroom="1")
    town.enter("juliet")
    town.say("romeo", "<message to='verona@r.x' type='groupchat'><body>b</body></message>")
    town.inboxes.clear()
    destroy = "<destroy jid='mantua@r.x'><reason>exile</reason><password>p</password></destroy>"
    gone = f"<x xmlns='muc#user'><item affiliation='none' role='none'/>{destroy}<status code='110'/></x>"
    town.play(f"""
romeo >> <iq to='verona@r.x' type='set' id='1'><query xmlns='muc#owner'><destroy jid='mantua@r.x'>
           <reason>exile</reason><password>p</password></destroy></query></iq>
romeo << <presence from='verona@r.x/romeo' type='unavailable'>{gone}</presence>
juliet << <presence from='verona@r.x/juliet' type='unavailable'>{gone}</presence>
romeo << <iq from='verona@r.x' type='result' id='1'/>
""")
    assert (town.store.records, town.store.affiliated, town.archive.entries) == ({}, {}, {})
    assert town.audience[ROOM] == {}
    assert town.rooms.items() == []
    town.enter("juliet")
    assert town.rooms.room(ROOM).secret != b""  # type: ignore[union-attr]
    assert town.audience[ROOM] == {person("juliet"): True}


def test_temporary_again_and_empty() -> None:
    town = Town()
    town.enter("romeo")
    town.configure(persistentroom="1")
    town.say("romeo", "<presence to='verona@r.x' type='unavailable'/>")
    assert len(town.rooms) == 1
    town.inboxes.clear()
    town.configure(persistentroom="0")
    assert (len(town.rooms), town.store.records) == (0, {})


def test_a_locked_persistent_room_is_stored_when_opened() -> None:
    town = Town(replace(SETTINGS, defaults=RoomConfig(persistent=True)))
    town.say("romeo", "<presence to='verona@r.x/romeo'><x xmlns='muc'/></presence>")
    assert town.store.records == {}
    town.say("romeo", f"<iq to='{ROOM}' type='set' id='f'><query xmlns='muc#owner'>{SUBMIT}/></query></iq>")
    assert [each.jid for each in town.store.affiliations(ROOM)] == [person("romeo").bare]
    town.inboxes.clear()
    town.admin("romeo", "<item jid='juliet@x' affiliation='member'/>")
    town.say("romeo", "<message to='verona@r.x' type='groupchat'><subject>S</subject></message>")
    again = Town(store=town.store, archive=town.archive)
    again.rooms.load(lambda room: room.local != "verona")
    assert len(again.rooms) == 0
    again.rooms.load()
    again.say("juliet", "<presence to='verona@r.x/juliet'><x xmlns='muc'/></presence>")
    assert [each.findtext("{jabber:client}subject") for each in again.taken("juliet")] == [None, "S"]
    assert again.rooms.room(ROOM).affiliations.owners == 1  # type: ignore[union-attr]


def test_every_field_has_its_label_and_fits_its_type() -> None:
    assert len({each.var for each in FIELDS}) == len(FIELDS)
    config = RoomConfig()
    for each in FIELDS:
        assert each.label
        values = each.write(config)
        options = [value for _, value in each.options(config)]
        assert bool(options) is each.type.startswith("list-")
        assert not options or set(values) <= set(options)
        assert len(values) == 1 or each.type.endswith("-multi")
        assert getattr(config, each.key) == each.read(each.var, values, SETTINGS)
