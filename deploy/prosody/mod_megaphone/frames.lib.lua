-- The frames of the link protocol, version 1, as bytes and as fields. Nothing of Prosody is in here.
--
--   0        1                    4                            8
--   +--------+--------------------+----------------------------+-----------------------
--   |  type  |  payload length    |  id (0: the link itself)   |  payload ...
--   +--------+--------------------+----------------------------+-----------------------
--
-- docs/reference/link-protocol.md is the reference. `read_*` take a payload and return a table, or nil and what is wrong
-- with it; the others return the bytes of a whole frame. Needs string.pack, so Lua 5.3 or newer.

local pack, unpack, sub = string.pack, string.unpack, string.sub;

local HEADER_BYTES = 8;
local DATA_BYTES = 16384; -- the most that one data frame may hold
local MAGIC = "MPLK";
local VERSION = 1;
local PROOF_BYTES = 32;
local WINDOW_MIN_BYTES, WINDOW_MAX_BYTES = 4096, 1048576;

local CHALLENGE, HELLO, WELCOME, PING, PONG, ACK, DRAIN = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07;
local OPEN, PUT_DATA, SEND_DATA, GET_DATA, SHUTDOWN = 0x10, 0x11, 0x12, 0x13, 0x14;

-- type = { name, who says it, which ids, least and most payload bytes }
local kinds = {
	[CHALLENGE] = { "CHALLENGE", "server", "link", 38, 38 };
	[HELLO] = { "HELLO", "edge", "link", 90, 345 };
	[WELCOME] = { "WELCOME", "server", "link", 60, 60 };
	[PING] = { "PING", "both", "link", 16, 16 };
	[PONG] = { "PONG", "both", "link", 16, 16 };
	[ACK] = { "ACK", "both", "link", 8, 8 };
	[DRAIN] = { "DRAIN", "both", "link", 0, 0 };
	[OPEN] = { "OPEN", "edge", "stream", 40, 4096 };
	[PUT_DATA] = { "PUT_DATA", "edge", "stream", 1, DATA_BYTES };
	[SEND_DATA] = { "SEND_DATA", "server", "stream", 1, DATA_BYTES };
	[GET_DATA] = { "GET_DATA", "both", "stream", 8, 8 };
	[SHUTDOWN] = { "SHUTDOWN", "both", "any", 9, 264 };
};

local reasons = {
	["closed"] = 0; ["connection-lost"] = 1; ["connection-timeout"] = 2; ["policy-violation"] = 3;
	["slow-consumer"] = 4; ["resource-constraint"] = 5; ["system-shutdown"] = 6; ["internal-error"] = 7;
	["remote-connection-failed"] = 8;
	["protocol-error"] = 16; ["credit-overstepped"] = 17; ["unsupported-version"] = 18; ["not-authorized"] = 19;
	["stale-epoch"] = 20; ["link-timeout"] = 21; ["too-many-links"] = 22;
};
local reason_names = {};
for name, code in pairs(reasons) do
	reason_names[code] = name;
end
local FIRST_LINK_REASON = 16;

-- What is wrong with a header that `sender` ("edge" or "server") sent; nil if nothing.
local function problem(kind, length, id, sender)
	local rule = kinds[kind];
	if not rule then
		return ("unknown frame type 0x%02x"):format(kind);
	end
	local name, from, ids, least, most = rule[1], rule[2], rule[3], rule[4], rule[5];
	if from ~= "both" and from ~= sender then
		return ("%s: only the %s says it"):format(name, from);
	elseif length < least or length > most then
		return ("%s: payload of %d bytes, not %d to %d"):format(name, length, least, most);
	elseif (ids == "link" and id ~= 0) or (ids == "stream" and id == 0) then
		return ("%s: id %d"):format(name, id);
	end
end

local function frame(kind, id, payload)
	return pack(">I1I3I4", kind, #payload, id) .. payload;
end

local function challenge(nonce, instance)
	return frame(CHALLENGE, 0, pack(">c4I1I1c16c16", MAGIC, VERSION, VERSION, nonce, instance));
end

-- `fields`: features, nonce, session, epoch, received, window, name. The payload without its proof.
local function hello_facts(fields)
	return pack(">c4I1I4c16c16I4I8I4s1", MAGIC, VERSION, fields.features, fields.nonce, fields.session, fields.epoch,
		fields.received, fields.window, fields.name);
end

-- `fields`: goes_on, features, epoch, received, window, streams, grace. The payload without its proof.
local function welcome_facts(fields)
	return pack(">I1I1I4I4I8I4I4I2", VERSION, fields.goes_on and 1 or 0, fields.features, fields.epoch, fields.received,
		fields.window, fields.streams, fields.grace);
end

-- The payload's length is 90 to 345. A version other than ours comes back in `version`, with nothing else read.
local function read_hello(payload)
	local magic, version = unpack(">c4I1", payload);
	if magic ~= MAGIC then
		return nil, "HELLO: wrong magic";
	elseif version ~= VERSION then
		return { version = version };
	end
	local features, nonce, session, epoch, received, window, name_bytes, name_at = unpack(">I4c16c16I4i8I4I1", payload, 6);
	if name_at - 1 + name_bytes + PROOF_BYTES ~= #payload then
		return nil, "HELLO: name length";
	end
	local name = sub(payload, name_at, name_at + name_bytes - 1);
	if not utf8.len(name) then
		return nil, "HELLO: name is not UTF-8";
	elseif window < WINDOW_MIN_BYTES or window > WINDOW_MAX_BYTES then
		return nil, ("HELLO: window of %d bytes"):format(window);
	elseif epoch == 0 then
		return nil, "HELLO: epoch 0";
	end
	return {
		version = version, features = features, nonce = nonce, session = session, epoch = epoch, received = received,
		window = window, name = name, proof = sub(payload, -PROOF_BYTES);
	};
end

-- type of the field = { name, least, most bytes, is text }
local open_fields = {
	[1] = { "server_name", 0, 4096, true };
	[2] = { "alpn", 0, 4096 };
	[3] = { "tls_exporter", 32, 32 };
	[4] = { "tls_unique", 12, 64 };
	[5] = { "cipher", 0, 4096, true };
	[6] = { "client_certificate", 32, 32 };
	[7] = { "server_end_point", 32, 64 };
};
local NO_MORE = ("\0"):rep(12); -- behind an IPv4 address
local OPEN_FACTS = ">I1I1c16I2c16I2I2";

local function read_open(payload)
	local transport, family, client, client_port, here, port, tls, at = unpack(OPEN_FACTS, payload);
	if transport < 1 or transport > 5 then
		return nil, ("OPEN: transport %d"):format(transport);
	elseif family ~= 4 and family ~= 6 then
		return nil, ("OPEN: address family %d"):format(family);
	end
	local bytes = family == 4 and 4 or 16;
	if family == 4 and (sub(client, 5) ~= NO_MORE or sub(here, 5) ~= NO_MORE) then
		return nil, "OPEN: an IPv4 address of more than 4 bytes";
	end
	local open = {
		transport = transport, client_address = sub(client, 1, bytes), client_port = client_port,
		local_address = sub(here, 1, bytes), local_port = port, tls_version = tls;
	};
	while at <= #payload do
		if at + 2 > #payload then
			return nil, "OPEN: field cut short";
		end
		local kind, length = unpack(">I1I2", payload, at);
		local value = sub(payload, at + 3, at + 2 + length);
		at = at + 3 + length;
		if #value ~= length then
			return nil, ("OPEN: field %d cut short"):format(kind);
		end
		local rule = open_fields[kind];
		if rule then
			if open[rule[1]] then
				return nil, ("OPEN: field %d twice"):format(kind);
			elseif length < rule[2] or length > rule[3] then
				return nil, ("OPEN: field %d of %d bytes"):format(kind, length);
			elseif rule[4] and not utf8.len(value) then
				return nil, ("OPEN: field %d is not UTF-8"):format(kind);
			end
			open[rule[1]] = value;
		end
	end
	return open;
end

-- Two integers; `received` of a PING or PONG is what its sender has received. Counts of 2^63 and more come out negative.
local function read_ping(payload)
	return unpack(">i8i8", payload);
end

local function read_count(payload)
	return (unpack(">i8", payload));
end

-- sent, reason (a number) and text, or nil and what is wrong.
local function read_shutdown(id, payload)
	local sent, reason = unpack(">i8I1", payload);
	local text = sub(payload, 10);
	if id ~= 0 and reason >= FIRST_LINK_REASON then
		return nil, ("SHUTDOWN: reason %d on stream %d"):format(reason, id);
	elseif not utf8.len(text) then
		return nil, "SHUTDOWN: text is not UTF-8";
	end
	return sent, reason, text;
end

-- `text` is cut at 255 bytes, between characters.
local function shutdown(id, sent, reason, text)
	if #text > 255 then
		local last = 255;
		while last > 0 and text:byte(last + 1) & 0xC0 == 0x80 do
			last = last - 1;
		end
		text = sub(text, 1, last);
	end
	return frame(SHUTDOWN, id, pack(">I8I1", sent, reasons[reason]) .. text);
end

return {
	HEADER = ">I1I3I4", HEADER_BYTES = HEADER_BYTES, DATA_BYTES = DATA_BYTES, VERSION = VERSION;
	WINDOW_MIN_BYTES = WINDOW_MIN_BYTES, WINDOW_MAX_BYTES = WINDOW_MAX_BYTES;
	CHALLENGE = CHALLENGE, HELLO = HELLO, WELCOME = WELCOME, PING = PING, PONG = PONG, ACK = ACK, DRAIN = DRAIN;
	OPEN = OPEN, PUT_DATA = PUT_DATA, SEND_DATA = SEND_DATA, GET_DATA = GET_DATA, SHUTDOWN = SHUTDOWN;
	FEATURE_GOES_ON = 1, FEATURE_BINDINGS = 2;
	EDGE_PROOF = "megaphone link 1 edge\0", SERVER_PROOF = "megaphone link 1 server\0";
	kinds = kinds, reasons = reasons, reason_names = reason_names;
	problem = problem, frame = frame;
	challenge = challenge, hello_facts = hello_facts, welcome_facts = welcome_facts;
	read_hello = read_hello, read_open = read_open, read_ping = read_ping, read_count = read_count;
	read_shutdown = read_shutdown, shutdown = shutdown;
};
