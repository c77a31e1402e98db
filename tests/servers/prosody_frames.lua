-- Tells what frames.lib.lua makes of frames, for test_prosody_frames.py: lua5.4 prosody_frames.lua <library> edge|server
-- Lines of hex digits come in, each one frame of the named side; one line of words goes out for each.

local frames = dofile(arg[1]);
local sender = arg[2];

local function to_hex(bytes)
	return (bytes:gsub(".", function (byte) return ("%02x"):format(byte:byte()); end));
end

local function from_hex(digits)
	return (digits:gsub("%x%x", function (pair) return string.char(tonumber(pair, 16)); end));
end


local function sorted(fields)
	local words = {};
	for name, value in pairs(fields) do
		words[#words + 1] = name .. "=" .. (type(value) == "number" and ("%d"):format(value) or "x" .. to_hex(value));
	end
	table.sort(words);
	return table.concat(words, " ");
end

local readers = {
	[frames.HELLO] = function (_, payload) return frames.read_hello(payload); end;
	[frames.OPEN] = function (_, payload) return frames.read_open(payload); end;
	[frames.PING] = function (_, payload)
		local stamp, received = frames.read_ping(payload);
		return { stamp = stamp, received = received };
	end;
	[frames.ACK] = function (_, payload) return { count = frames.read_count(payload) }; end;
	[frames.PUT_DATA] = function (_, payload) return { data = payload }; end;
	[frames.SHUTDOWN] = function (id, payload)
		local sent, reason, text = frames.read_shutdown(id, payload);
		if not sent then return nil, reason; end
		return { sent = sent, reason = reason, text = text, said = frames.shutdown(id, sent, frames.reason_names[reason], text) };
	end;
};
readers[frames.PONG], readers[frames.GET_DATA] = readers[frames.PING], readers[frames.ACK];
readers[frames.SEND_DATA] = readers[frames.PUT_DATA];
readers[frames.DRAIN] = function () return {}; end;
readers[frames.CHALLENGE] = function (_, payload)
	return { said = frames.challenge(payload:sub(7, 22), payload:sub(23, 38)) };
end;
readers[frames.WELCOME] = function (_, payload)
	local _, flags, features, epoch, received, window, streams, grace = string.unpack(">I1I1I4I4I8I4I4I2", payload);
	return { said = frames.welcome_facts {
		goes_on = flags == 1, features = features, epoch = epoch, received = received, window = window;
		streams = streams, grace = grace;
	} };
end;

for line in io.lines() do
	local bytes = from_hex(line);
	local kind, length, id = string.unpack(frames.HEADER, bytes);
	local problem = frames.problem(kind, length, id, sender);
	local fields;
	if not problem then
		fields, problem = readers[kind](id, bytes:sub(frames.HEADER_BYTES + 1));
	end
	print(problem and "refused " .. problem or frames.kinds[kind][1] .. " " .. id .. " " .. sorted(fields));
end
