// Phoenix channels, as little of them as pages need: [join_ref, ref, topic, event, payload] over one WebSocket that
// comes back by itself, with every topic joined anew. The library `phoenix` from npm speaks the same.

const HEARTBEAT_MS = 30_000;
const RETRY_MS = [200, 500, 1_000, 2_000, 5_000];
const REJOIN_MS = 2_000;

export class Channel {
  constructor(socket, topic, parameters) {
    this.socket = socket;
    this.topic = topic;
    this.parameters = parameters;
    this.joinRef = null;
    this.joined = false;
    this.left = false;
    this.listeners = new Map();
  }

  on(event, listener) {
    this.listeners.set(event, listener);
    return this;
  }

  join() {
    this.joinRef = this.socket.send(this.topic, "phx_join", this.parameters, null, (ref) => (this.joinRef = ref));
    return this;
  }

  push(event, payload) {
    if (this.joined) this.socket.send(this.topic, event, payload, this.joinRef);
  }

  leave() {
    if (this.left) return;
    this.push("phx_leave", {});
    this.joined = false;
    this.left = true;
    this.socket.channels.delete(this.topic);
  }

  // What the server says on this topic.
  take(joinRef, ref, event, payload) {
    if (joinRef !== null && joinRef !== this.joinRef) return; // of an earlier membership
    if (event === "phx_reply" && ref === this.joinRef) {
      this.joined = payload.status === "ok";
      if (this.joined) this.listeners.get("joined")?.(payload.response);
      else this.refused(payload.response.reason);
    } else if (event === "phx_reply" && payload.status === "error") {
      this.listeners.get("refused")?.(payload.response.reason);
    } else if (event === "phx_error") {
      this.joined = false;
      this.refused(payload.reason);
    } else if (event === "phx_close") {
      this.joined = false;
    } else {
      this.listeners.get(event)?.(payload);
    }
  }

  refused(reason) {
    this.listeners.get("refused")?.(reason);
    if (reason === "bad_hash") this.left = true;
    else setTimeout(() => !this.left && !this.joined && this.join(), REJOIN_MS);
  }
}

export class Socket {
  constructor(path, { up, down }) {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    this.url = `${scheme}//${location.host}${path}/websocket?vsn=2.0.0`;
    this.up = up;
    this.down = down;
    this.channels = new Map();
    this.ref = 0;
    this.losses = 0;
    this.connect();
    setInterval(() => this.heartbeat(), HEARTBEAT_MS);
    addEventListener("online", () => this.again());
    document.addEventListener("visibilitychange", () => document.hidden || this.again());
  }

  channel(topic, parameters = {}) {
    const channel = new Channel(this, topic, parameters);
    this.channels.set(topic, channel);
    if (this.isOpen) channel.join();
    return channel;
  }

  get isOpen() {
    return this.connection?.readyState === WebSocket.OPEN;
  }

  connect() {
    const connection = new WebSocket(this.url);
    this.connection = connection;
    this.unanswered = false;
    connection.onopen = () => {
      this.losses = 0;
      this.up();
      for (const channel of this.channels.values()) channel.join();
    };
    connection.onmessage = ({ data }) => {
      this.unanswered = false;
      const [joinRef, ref, topic, event, payload] = JSON.parse(data);
      this.channels.get(topic)?.take(joinRef, ref, event, payload);
    };
    connection.onclose = ({ code }) => {
      if (connection !== this.connection) return;
      for (const channel of this.channels.values()) channel.joined = false;
      const wait = RETRY_MS[Math.min(this.losses, RETRY_MS.length - 1)];
      if (this.losses++ === 0) this.down(code);
      this.timer = setTimeout(() => this.connect(), wait * (0.75 + Math.random() / 2));
    };
  }

  again() {
    if (this.connection.readyState !== WebSocket.CLOSED) return;
    clearTimeout(this.timer);
    this.connect();
  }

  heartbeat() {
    if (!this.isOpen) return;
    if (this.unanswered) this.connection.close(); // nothing was heard since the last one
    else this.send("phoenix", "heartbeat", {}, null);
    this.unanswered = true;
  }

  // Returns the ref. A topic's join has its own ref as join_ref, which the topic must know before any answer.
  send(topic, event, payload, joinRef, know = null) {
    const ref = String(++this.ref);
    know?.(ref);
    if (this.isOpen) this.connection.send(JSON.stringify([know ? ref : joinRef, ref, topic, event, payload]));
    return ref;
  }
}
