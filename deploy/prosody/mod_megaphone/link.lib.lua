-- A session of the link protocol: the streams of one link, and what is kept when its socket breaks.
--
--   attached ──socket breaks, nothing heard for 15 s──► waiting ──grace time over──► over (each stream: connection lost)
--      ▲                                                  │
--      └───────HELLO for the session, greater epoch───────┘      SHUTDOWN for id 0 from either side ──► over
--
-- outgoing.lib.lua and incoming.lib.lua have the methods for what leaves and what arrives.

local frames = module:require "frames";
local settings = module:require "options";

local monotonic = require "util.time".monotonic;

local pack, sub, concat, floor = string.pack, string.sub, table.concat, math.floor;
local ipairs, pairs, setmetatable = ipairs, pairs, setmetatable;

local PING_SECONDS, SILENCE_SECONDS = 5, 15;
local LOOK_SECONDS = math.min(60, settings.read_timeout_seconds); -- how often silent streams are looked for

local link = {};
local link_mt = { __index = link };
for _, library in ipairs({ "outgoing", "incoming" }) do
	for name, method in pairs(module:require(library)) do
		link[name] = method;
	end
end

-- `hello` is what frames.read_hello returns; `over(link)` is called when the session has ended.
local function new(hello, log, over)
	return setmetatable({
		session = hello.session, name = hello.name, edge_window = hello.window, epoch = 0, over = over, log = log;
		features = hello.features & (frames.FEATURE_GOES_ON | frames.FEATURE_BINDINGS);
		socket = nil, conn = nil, unsent = false, flushing = false, draining = false, edge_draining = false, closing_as = "closed";
		received = 0, told = 0; -- bytes from the edge; as far as we have acknowledged them
		sent = 0, acknowledged = 0; -- bytes to the edge; as far as it has acknowledged them
		kept = { first = 1, last = 0, at = 0 }; -- batches from count `at` on
		own = {}, own_bytes = 0; -- frames that wait for the next write and belong to no stream's data
		turn_of = { first = 1, last = 0 }; -- streams that have something to send
		streams = {}, stream_count = 0;
		settling = {}, lingering = {}, lingering_count = 0;
		heard = monotonic(), pinged = 0, looked = monotonic(), waiting_since = nil, round_trip_seconds = nil;
	}, link_mt);
end

function link:agreed(feature)
	return self.features & feature ~= 0;
end

--- Streams that are closed but not done

-- Keep one for some seconds; false if there are too many of them.
function link:linger(stream, seconds)
	if not self.lingering[stream] then
		if self.lingering_count >= settings.streams_max then return false; end
		self.lingering_count = self.lingering_count + 1;
	end
	self.lingering[stream] = monotonic() + seconds;
	return true;
end

function link:forget_lingering(stream)
	if self.lingering[stream] then
		self.lingering[stream] = nil;
		self.lingering_count = self.lingering_count - 1;
	end
end

--- Sockets

-- Whether all bytes from this count on are still here.
function link:keeps(count)
	return count >= self.kept.at and count >= self.acknowledged and self:agreed(frames.FEATURE_GOES_ON);
end

-- `socket` carries the session from now on: WELCOME, then again what the edge has not received.
function link:attach(socket, hello, welcome)
	local goes_on = self.epoch > 0;
	local resent = {};
	if goes_on then
		self:acknowledge(hello.received);
		local kept = self.kept;
		for i = kept.first, kept.last do
			resent[#resent + 1] = kept[i];
		end
		if resent[1] then
			resent[1] = sub(resent[1], hello.received - kept.at + 1);
		end
	end
	local conn = socket.conn;
	self.socket, self.conn, self.epoch, self.waiting_since = socket, conn, hello.epoch, nil;
	self.heard, self.told, self.unsent = monotonic(), self.received, true;
	conn:write(welcome .. concat(resent));
end

-- The socket is gone (or is to be left, when another one has come).
function link:detach()
	self.socket, self.conn, self.unsent, self.waiting_since = nil, nil, false, monotonic();
	if not self:agreed(frames.FEATURE_GOES_ON) or settings.grace_seconds == 0 then
		self:finish("connection lost");
	end
end

--- Time and the end

-- Once a second.
function link:tick(now)
	local conn = self.conn;
	if conn then
		if now - self.heard >= SILENCE_SECONDS then
			self.log("warn", "Nothing heard for %d s", SILENCE_SECONDS);
			self:detach();
			return conn:close();
		elseif now - self.pinged >= PING_SECONDS then
			self.pinged, self.told = now, self.received;
			self:say(frames.frame(frames.PING, 0, pack(">I8I8", floor(now * 1e6), self.received)));
		end
	elseif self.waiting_since and now - self.waiting_since >= settings.grace_seconds then
		self.log("warn", "No new socket within %d s", settings.grace_seconds);
		return self:finish("connection lost");
	end
	local due = {}; -- to end a stream changes the table that is walked through here
	for stream, at in pairs(self.lingering) do
		if now >= at then
			due[#due + 1] = stream;
		end
	end
	for i = 1, #due do
		due[i]:linger_over();
	end
	if now - self.looked >= LOOK_SECONDS then
		self:look_for_silent_streams(now);
	end
end

function link:look_for_silent_streams(now)
	self.looked = now;
	local silent = {};
	for _, stream in pairs(self.streams) do
		if now - stream.heard >= settings.read_timeout_seconds and not stream.ended then
			silent[#silent + 1] = stream;
		end
	end
	for i = 1, #silent do
		silent[i]:read_timeout(now);
	end
end

function link:drain()
	self.draining, self.closing_as = true, "system-shutdown";
	self:say(frames.frame(frames.DRAIN, 0, ""));
end

-- An error of the edge (or of ours, with `trace`): say so, close the socket, end the session.
function link:fail(reason, text, trace)
	self.log("error", "Ending the link: %s: %s", reason, trace or text);
	self:finish("link failed", reason, text);
end

-- The session is over: every stream ends as if its connection had been lost. With a reason the edge is told.
function link:finish(err, reason, text)
	if self.ended then return; end
	self.ended = true;
	local socket = self.socket;
	self.socket, self.conn = nil, nil;
	if socket then
		socket:part(reason and frames.shutdown(0, 0, reason, text));
	end
	local streams, lingering = self.streams, self.lingering;
	self.streams, self.lingering, self.lingering_count, self.stream_count = {}, {}, 0, 0;
	self.own, self.kept, self.turn_of, self.settling = {}, { first = 1, last = 0, at = 0 }, { first = 1, last = 0 }, {};
	for _, stream in pairs(streams) do
		stream:finish("connection-lost", "", err);
	end
	for stream in pairs(lingering) do
		stream:finish("connection-lost", "", err);
	end
	self.over(self);
end

return { new = new };
