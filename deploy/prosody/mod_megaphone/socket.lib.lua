-- A socket of a link: its bytes into frames, the greeting with both proofs, and then the session that it belongs to.
--
--   connected ──CHALLENGE──► greeting ──HELLO, proof right──► attached to a session
--                               └──anything else, 10 s──► closed

local frames = module:require "frames";
local settings = module:require "options";
local new_link = module:require "link".new;

local equals = require "util.hashes".equals;
local hmac_sha256 = require "util.hashes".hmac_sha256;
local random_bytes = require "util.random".bytes;
local hex = require "util.hex".to;
local add_task = require "util.timer".add_task;
local stop_task = require "util.timer".stop;
local logger = require "util.logger";
local monotonic = require "util.time".monotonic;

local unpack, sub, concat = string.unpack, string.sub, table.concat;
local next, pairs, setmetatable, xpcall, traceback = next, pairs, setmetatable, xpcall, debug.traceback;

local HEADER, HEADER_BYTES = frames.HEADER, frames.HEADER_BYTES;
local GREETING_SECONDS = 10;
local GREETINGS_MAX = math.max(64, settings.links_max); -- sockets that have not proved anything yet

local PARTING_SECONDS = 1;
local PARTING_MAX = 64;

local instance = random_bytes(16); -- of this server side
local links = {}; -- session -> link
local link_count = 0;
local greeting = { first = 1, last = 0, count = 0 }; -- sockets that have not said HELLO, in the order of their coming
local parting_count = 0; -- sockets on which the last frame was said

local socket = {};
local socket_mt = { __index = socket };

local function forget_greeting(self)
	local place = self.greeting_place;
	if not place then return; end
	self.greeting_place, greeting[place] = nil, nil;
	greeting.count = greeting.count - 1;
	while greeting.first <= greeting.last and not greeting[greeting.first] do
		greeting.first = greeting.first + 1;
	end
end

-- `conn` is net.server's connection. When too many are silent the oldest goes: an edge says HELLO at once.
local function new(conn)
	local self = setmetatable({
		conn = conn, link = nil, pieces = {}, piece_bytes = 0, needed = HEADER_BYTES;
		greet_by = monotonic() + GREETING_SECONDS, log = logger.init("megaphone");
	}, socket_mt);
	if greeting.count >= GREETINGS_MAX then
		greeting[greeting.first]:refuse("link-timeout", "too many sockets are silent");
	end
	greeting.last, greeting.count = greeting.last + 1, greeting.count + 1;
	greeting[greeting.last], self.greeting_place = self, greeting.last;
	local challenge = frames.challenge(random_bytes(16), instance);
	self.challenge = sub(challenge, HEADER_BYTES + 1);
	conn:write(challenge);
	return self;
end

-- Says why, and closes the socket. A session that it carried is over.
function socket:refuse(reason, text)
	local link = self.link;
	if link then
		return link:fail(reason, text);
	end
	forget_greeting(self);
	self.log("warn", "Refusing a link from %s: %s: %s", self.conn:ip(), reason, text);
	self:part(frames.shutdown(0, 0, reason, text));
end

-- Say the last frame, if any, and close. What the edge still sends is read and dropped for a moment, because to close a
-- socket on unread bytes resets it, and the edge would not learn why.
function socket:part(last)
	local conn = self.conn;
	if last then
		conn:write(last);
	end
	self.parting = true;
	if last and parting_count < PARTING_MAX then
		parting_count = parting_count + 1;
		self.parting_timer = add_task(PARTING_SECONDS, function () conn:close(); end);
	else
		conn:close();
	end
end

--- From bytes to frames

local function receive_frames(self, data)
	local at, last = 1, #data;
	while last - at + 1 >= HEADER_BYTES do
		local kind, length, id = unpack(HEADER, data, at);
		local problem = frames.problem(kind, length, id, "edge");
		if not problem and not self.link and kind ~= frames.HELLO then
			problem = frames.kinds[kind][1] .. ": before HELLO";
		end
		if problem then
			return self:refuse("protocol-error", problem);
		end
		local stop = at + HEADER_BYTES + length - 1;
		if stop > last then
			self.needed = HEADER_BYTES + length;
			break;
		end
		local payload = sub(data, at + HEADER_BYTES, stop);
		at = stop + 1;
		if self.link then
			local reason, text = self.link:receive(kind, id, payload);
			if reason then
				return self:refuse(reason, text);
			elseif self.link.ended then
				return;
			end
		else
			self:greet(payload);
			if not self.link then return; end
			self.link.in_turn = true;
		end
		self.needed = HEADER_BYTES;
	end
	if at <= last then
		self.pieces[1], self.piece_bytes = sub(data, at), last - at + 1;
	end
end

-- Bytes have come. What they make the link say leaves at the end, in one write.
function socket:receive(data)
	if self.parting then return; end
	local pieces = self.pieces;
	local bytes = self.piece_bytes + #data;
	if self.piece_bytes > 0 then
		pieces[#pieces + 1] = data;
		if bytes < self.needed then
			self.piece_bytes = bytes;
			return;
		end
		data = concat(pieces);
		self.pieces, self.piece_bytes = {}, 0;
	end
	if self.link then
		self.link.heard, self.link.in_turn = monotonic(), true;
	end
	local ok, trace = xpcall(receive_frames, traceback, self, data);
	local link = self.link;
	if link then
		link.in_turn = false;
		if not ok then
			link:fail("internal-error", "", trace);
		else
			link:turn();
		end
	elseif not ok then
		self.log("error", "Error while greeting: %s", trace);
		self:refuse("internal-error", "");
	end
end

--- The greeting

local function link_over(link)
	if links[link.session] == link then
		links[link.session] = nil;
		link_count = link_count - 1;
	end
end

-- The session a HELLO is for: the one we know, a new one, or nil with the reason and text of a refusal.
local function session_for(hello, log)
	local link = links[hello.session];
	if link then
		if hello.epoch <= link.epoch then
			return nil, "stale-epoch", ("epoch %d after %d"):format(hello.epoch, link.epoch);
		elseif hello.received < 0 or hello.received > link.sent then
			return nil, "protocol-error", ("HELLO: %d bytes received of %d sent"):format(hello.received, link.sent);
		elseif hello.window ~= link.edge_window then
			return nil, "protocol-error", ("HELLO: window of %d bytes, was %d"):format(hello.window, link.edge_window);
		elseif link:keeps(hello.received) and hello.features & frames.FEATURE_GOES_ON ~= 0 then
			return link;
		end
		link:finish("connection lost");
	end
	if link_count >= settings.links_max then
		return nil, "too-many-links", ("there are %d"):format(link_count);
	end
	link = new_link(hello, log, link_over);
	links[hello.session], link_count = link, link_count + 1;
	return link;
end

function socket:greet(payload)
	local hello, problem = frames.read_hello(payload);
	if not hello then
		return self:refuse("protocol-error", problem);
	elseif hello.version ~= frames.VERSION then
		return self:refuse("unsupported-version",
			("version %d; versions %d to %d are understood"):format(hello.version, frames.VERSION, frames.VERSION));
	end
	local said = sub(payload, 1, -#hello.proof - 1);
	if not equals(hello.proof, hmac_sha256(settings.secret, frames.EDGE_PROOF .. self.challenge .. said)) then
		return self:refuse("not-authorized", "wrong proof");
	end
	local log = logger.init("megaphone" .. hex(sub(hello.session, 1, 4)));
	local link, reason, text = session_for(hello, log);
	if not link then
		return self:refuse(reason, text);
	end
	forget_greeting(self);
	local old = link.socket;
	if old then -- its ondisconnect must find that it has been left
		link.socket, link.conn = nil, nil;
		old:part();
	end
	local goes_on = link.epoch > 0;
	local facts = frames.welcome_facts {
		goes_on = goes_on, features = link.features, epoch = hello.epoch, received = link.received;
		window = settings.window_bytes, streams = settings.streams_max, grace = settings.grace_seconds;
	};
	local proof = hmac_sha256(settings.secret, frames.SERVER_PROOF .. self.challenge .. payload .. facts);
	log("info", "%s %q at %s, epoch %d", goes_on and "Link goes on:" or "New link:", hello.name, self.conn:ip(), hello.epoch);
	self.link = link;
	link:attach(self, hello, frames.frame(frames.WELCOME, 0, facts .. proof));
end

--- The end, and time

function socket:drained()
	local link = self.link;
	if link and link.conn == self.conn then
		link:drained();
	end
end

-- net.server has closed it.
function socket:gone(err)
	forget_greeting(self);
	if self.parting_timer then
		stop_task(self.parting_timer);
		self.parting_timer, parting_count = nil, parting_count - 1;
	end
	local link = self.link;
	if link and link.conn == self.conn then
		link.log("warn", "Link broken (%s); its %d streams wait %d s", err or "closed", link.stream_count, settings.grace_seconds);
		link:detach();
	end
end

-- Once a second. False when there is nothing to look after.
local function tick()
	local now = monotonic();
	while greeting.count > 0 and now >= greeting[greeting.first].greet_by do
		greeting[greeting.first]:refuse("link-timeout", ("no HELLO within %d s"):format(GREETING_SECONDS));
	end
	local each = {};
	for _, link in pairs(links) do
		each[#each + 1] = link;
	end
	for i = 1, #each do
		each[i]:tick(now);
	end
	return next(links) ~= nil or greeting.count > 0;
end

return { new = new, tick = tick, links = links };
