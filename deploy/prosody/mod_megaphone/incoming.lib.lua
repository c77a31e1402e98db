-- What arrives on a link: each frame, whose header has been checked, given to the link or to one of its streams.

local frames = module:require "frames";
local settings = module:require "options";
local new_stream = module:require "stream".new;

local monotonic = require "util.time".monotonic;

local pack, sub = string.pack, string.sub;

local ACK_BYTES = 65536;
local PROTOCOL_ERROR, CREDIT_OVERSTEPPED = "protocol-error", "credit-overstepped";

local link = {};
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

return link;
