-- A session of the link protocol: the streams of one link, and what is kept when its socket breaks.
--
--   attached ──socket breaks, nothing heard for 15 s──► waiting ──grace time over──► over (each stream: connection lost)
--      ▲                                                  │
--      └───────HELLO for the session, greater epoch───────┘      SHUTDOWN for id 0 from either side ──► over
--
-- Output is gathered: what is said during a turn of the loop leaves in one write, the link's own frames first, then one
-- frame of each stream that has something, in turn. The next write waits until the socket has taken this one, so that a
-- stream that becomes ready waits for BATCH_BYTES and not for all that others have queued. Every batch is kept until the
-- edge acknowledges it.

local frames = module:require "frames";
local settings = module:require "options";
local new_stream = module:require "stream".new;

local add_task = require "util.timer".add_task;
local monotonic = require "util.time".monotonic;

local pack, sub, concat = string.pack, string.sub, table.concat;
local floor, next, pairs, setmetatable, xpcall, traceback = math.floor, next, pairs, setmetatable, xpcall, debug.traceback;

local BATCH_BYTES = 131072; -- one write: enough for 8 full frames
local KEPT_BYTES = 4194304; -- at this much without acknowledgement no stream's data is taken
local KEPT_MOST_BYTES = 2 * KEPT_BYTES; -- the link's own frames may go on to here, which a peer that acknowledges never sees
local ACK_BYTES = 65536;
local PING_SECONDS, SILENCE_SECONDS = 5, 15;
local LOOK_SECONDS = math.min(60, settings.read_timeout_seconds); -- how often silent streams are looked for
local PROTOCOL_ERROR, CREDIT_OVERSTEPPED = "protocol-error", "credit-overstepped";

local link = {};
local link_mt = { __index = link };

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
		heard = monotonic(), pinged = 0, looked = monotonic(), waiting_since = nil, reattached = 0, round_trip_seconds = nil;
	}, link_mt);
end

function link:agreed(feature)
	return self.features & feature ~= 0;
end

-- With what reason a stream is closed that its owner closes.
function link:closing_reason()
	return self.closing_as;
end

--- What streams ask of their link

-- Gather the bytes of a whole frame for the next write.
function link:say(bytes)
	if self.ended then return; end
	self.own[#self.own + 1] = bytes;
	self.own_bytes = self.own_bytes + #bytes;
	self:wake();
end

function link:ready(stream)
	if stream.is_ready or self.ended or not stream:has_turn() then return; end
	stream.is_ready = true;
	local turn_of = self.turn_of;
	turn_of.last = turn_of.last + 1;
	turn_of[turn_of.last] = stream;
	self:wake();
end

function link:settle_later(stream)
	self.settling[stream] = true;
	self:wake();
end

-- Keep a stream that is closed but not done for some seconds; false if there are too many of them.
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

--- Output

-- Have a turn when whatever runs now is done.
function link:wake()
	if self.in_turn or self.woken or self.ended then return; end
	self.woken = true;
	add_task(0, function ()
		self.woken = false;
		self:turn();
	end);
end

function link:turn()
	if self.in_turn or self.ended then return; end
	self.in_turn = true;
	local ok, problem = xpcall(self.settle_and_flush, traceback, self);
	self.in_turn = false;
	if not ok then
		self:fail("internal-error", "", problem);
	elseif not self.unsent and (self.own[1] or self:may_send() or next(self.settling)) then
		self:wake();
	end
end

-- Whether a frame of some stream could be taken now.
function link:may_send()
	return self.conn and self.turn_of.first <= self.turn_of.last and self.sent - self.acknowledged < KEPT_BYTES;
end

function link:settle_and_flush()
	while next(self.settling) do
		local settling = self.settling;
		self.settling = {};
		for stream in pairs(settling) do
			stream:settle();
		end
	end
	self:flush();
end

function link:flush()
	if not self.conn or self.unsent or self.flushing then return; end
	self.flushing = true; -- what streams do when they are told something must not write before what is gathered here
	local batch, bytes = self.own, self.own_bytes;
	self.own, self.own_bytes = {}, 0;
	local room = KEPT_BYTES - (self.sent - self.acknowledged);
	local drained;
	local turn_of = self.turn_of;
	while bytes < BATCH_BYTES and bytes < room and turn_of.first <= turn_of.last do
		local stream = turn_of[turn_of.first];
		turn_of[turn_of.first] = nil;
		turn_of.first = turn_of.first + 1;
		stream.is_ready = false;
		if stream:has_turn() then
			local header, data, empty;
			if stream.pending_bytes > 0 then
				header, data, empty = stream:next_frame();
			end
			if header then
				batch[#batch + 1] = header;
				batch[#batch + 1] = data;
				bytes = bytes + frames.HEADER_BYTES + #data;
			end
			if stream.closing and stream.pending_bytes == 0 and not stream.ended then
				stream:finish(self.closing_as, "", stream.lost);
			elseif empty then
				drained = drained or {};
				drained[#drained + 1] = stream;
			end
			self:ready(stream);
		end
	end
	if turn_of.first > turn_of.last then
		turn_of.first, turn_of.last = 1, 0;
	end
	if bytes > 0 then
		self:keep_and_write(concat(batch));
	end
	self.flushing = false;
	if drained then
		for i = 1, #drained do
			local stream = drained[i];
			if not stream.ended and stream.pending_bytes == 0 then
				stream:tell("ondrain");
			end
		end
	end
end

function link:keep_and_write(data)
	local kept = self.kept;
	kept.last = kept.last + 1;
	kept[kept.last] = data;
	self.sent = self.sent + #data;
	if self.sent - self.acknowledged > KEPT_MOST_BYTES then
		return self:fail(PROTOCOL_ERROR, ("%d bytes without acknowledgement"):format(self.sent - self.acknowledged));
	end
	self.unsent = true;
	self.conn:write(data);
end

-- The socket has taken the last write.
function link:drained()
	self.unsent = false;
	self:turn();
end

-- The edge has received so much. A smaller count than before is an old frame sent again after re-attaching.
function link:acknowledge(count)
	if count < 0 or count > self.sent then
		return ("%d bytes acknowledged of %d sent"):format(count, self.sent);
	elseif count > self.acknowledged then
		self.acknowledged = count;
		local kept = self.kept;
		while kept.first <= kept.last and kept.at + #kept[kept.first] <= count do
			kept.at = kept.at + #kept[kept.first];
			kept[kept.first] = nil;
			kept.first = kept.first + 1;
		end
		if kept.first > kept.last then
			kept.first, kept.last = 1, 0;
		end
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
		self.reattached = self.reattached + 1;
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

--- Input

local receive = {};

-- One whole frame, whose header has been checked. Returns the reason and the text of a protocol error, or nothing.
function link:receive(kind, id, payload)
	self.received = self.received + frames.HEADER_BYTES + #payload;
	local reason, text = receive[kind](self, id, payload);
	if not reason and self.received - self.told >= ACK_BYTES then
		self.told = self.received;
		self:say(frames.frame(frames.ACK, 0, pack(">I8", self.received)));
	end
	return reason, text;
end

receive[frames.PING] = function (self, _, payload)
	local _, received = frames.read_ping(payload);
	local problem = self:acknowledge(received);
	if problem then return PROTOCOL_ERROR, "PING: " .. problem; end
	self.told = self.received;
	self:say(frames.frame(frames.PONG, 0, sub(payload, 1, 8) .. pack(">I8", self.received)));
end

receive[frames.PONG] = function (self, _, payload)
	local stamp, received = frames.read_ping(payload);
	local problem = self:acknowledge(received);
	if problem then return PROTOCOL_ERROR, "PONG: " .. problem; end
	local seconds = monotonic() - stamp / 1e6;
	if seconds >= 0 then
		self.round_trip_seconds = seconds;
	end
end

receive[frames.ACK] = function (self, _, payload)
	local problem = self:acknowledge(frames.read_count(payload));
	if problem then return PROTOCOL_ERROR, "ACK: " .. problem; end
end

receive[frames.DRAIN] = function (self)
	self.edge_draining = true;
end

receive[frames.HELLO] = function ()
	return PROTOCOL_ERROR, "HELLO: a second time";
end

receive[frames.OPEN] = function (self, id, payload)
	if self.streams[id] then
		return PROTOCOL_ERROR, ("OPEN: stream %d is in use"):format(id);
	elseif self.stream_count >= settings.streams_max then
		return PROTOCOL_ERROR, ("OPEN: more than %d streams"):format(settings.streams_max);
	end
	local opened, problem = frames.read_open(payload);
	if not opened then
		return PROTOCOL_ERROR, problem;
	end
	local stream = new_stream(self, id, opened);
	self.streams[id], self.stream_count = stream, self.stream_count + 1;
	if self.draining then
		stream.ended = true; -- c2s has never heard of it
		stream:finish("system-shutdown", "");
	else
		stream:tell("onconnect");
	end
end

receive[frames.PUT_DATA] = function (self, id, payload)
	local stream = self.streams[id];
	if not stream then
		return PROTOCOL_ERROR, ("PUT_DATA: stream %d is not open"):format(id);
	elseif stream.received + #payload > stream.granted then
		return CREDIT_OVERSTEPPED,
			("stream %d: %d bytes, limit %d"):format(id, stream.received + #payload, stream.granted);
	end
	stream:take(payload);
end

receive[frames.GET_DATA] = function (self, id, payload)
	local stream = self.streams[id];
	if not stream then
		return PROTOCOL_ERROR, ("GET_DATA: stream %d is not open"):format(id);
	end
	local problem = stream:credit(frames.read_count(payload));
	if problem then return PROTOCOL_ERROR, problem; end
end

receive[frames.SHUTDOWN] = function (self, id, payload)
	local sent, reason, text = frames.read_shutdown(id, payload);
	if not sent then
		return PROTOCOL_ERROR, reason;
	end
	local name = frames.reason_names[reason] or ("reason %d"):format(reason);
	local words = name:gsub("%-", " ") .. (text ~= "" and (" (%s)"):format(text:gsub("%c", "?")) or "");
	if id == 0 then
		self.log("info", "The edge has ended the link: %s", words);
		self:finish(words);
		return;
	end
	local stream = self.streams[id];
	if not stream then
		return PROTOCOL_ERROR, ("SHUTDOWN: stream %d is not open"):format(id);
	elseif sent ~= stream.received then
		return PROTOCOL_ERROR, ("SHUTDOWN: stream %d sent %d bytes, %d arrived"):format(id, sent, stream.received);
	end
	self.streams[id], self.stream_count = nil, self.stream_count - 1;
	stream:edge_closed(reason ~= 0 and words or nil);
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

-- Write all that may be written, however slow the socket is; for an orderly end.
function link:flush_all()
	while self.conn and not self.flushing and (self.own[1] or self:may_send()) do
		self.unsent = false;
		self:flush();
	end
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
