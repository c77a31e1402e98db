"""Entering and leaving, as everybody in the room sees it."""

from tests.unit.rooms.town import Town

ENTER = "<x xmlns='muc'/>"


def test_new_room_is_locked_until_its_creator_opens_it() -> None:
    Town().play("""
romeo >> <presence to='verona@r.x/Romeo' id='p1'><x xmlns='muc'/><show>away</show></presence>
romeo << <presence from='verona@r.x/Romeo' id='p1'><show>away</show><x xmlns='muc#user'>
           <item affiliation='owner' role='moderator' jid='romeo@x/c'/><status code='110'/><status code='201'/></x></presence>
romeo << <message from='verona@r.x' type='groupchat'><subject/></message>
juliet >> <presence to='verona@r.x/Juliet'><x xmlns='muc'/></presence>
juliet << <presence from='verona@r.x/Juliet' type='error'><error type='cancel'>
           <item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>
romeo >> <iq to='verona@r.x' type='set' id='o'><query xmlns='muc#owner'><x xmlns='jabber:x:data' type='submit'/></query></iq>
romeo << <iq from='verona@r.x' type='result' id='o'/>
juliet >> <presence to='verona@r.x/Juliet'><x xmlns='muc'/></presence>
juliet << <presence from='verona@r.x/Romeo'><show>away</show><x xmlns='muc#user'><item affiliation='owner' role='moderator'/></x></presence>
juliet << <presence from='verona@r.x/Juliet'><x xmlns='muc#user'><item affiliation='none' role='participant' jid='juliet@x/c'/>
           <status code='110'/></x></presence>
juliet << <message from='verona@r.x' type='groupchat'><subject/></message>
romeo << <presence from='verona@r.x/Juliet'><x xmlns='muc#user'><item affiliation='none' role='participant' jid='juliet@x/c'/></x></presence>
juliet >> <message to='verona@r.x' type='groupchat' id='m1'><body>hi</body></message>
romeo << <message from='verona@r.x/Juliet' type='groupchat' id='m1'><body>hi</body>
           <stanza-id xmlns='urn:xmpp:sid:0' by='verona@r.x' id='1700000000000000'/></message>
juliet << <message from='verona@r.x/Juliet' type='groupchat' id='m1'><body>hi</body>
           <stanza-id xmlns='urn:xmpp:sid:0' by='verona@r.x' id='1700000000000000'/></message>
juliet >> <presence to='verona@r.x/Juliet' type='unavailable'><status>bye</status></presence>
romeo << <presence from='verona@r.x/Juliet' type='unavailable'><status>bye</status><x xmlns='muc#user'>
           <item affiliation='none' role='none' jid='juliet@x/c'/></x></presence>
juliet << <presence from='verona@r.x/Juliet' type='unavailable'><status>bye</status><x xmlns='muc#user'>
           <item affiliation='none' role='none' jid='juliet@x/c'/><status code='110'/></x></presence>
""")
