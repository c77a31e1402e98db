// The list of events: it follows what comes, unless somebody has scrolled up to read.

const LINES = 500;

export class Console {
  constructor(list) {
    this.list = list;
  }

  log(text) {
    const { list } = this;
    const follows = list.scrollHeight - list.scrollTop - list.clientHeight < 2;
    const line = document.createElement("li");
    const time = document.createElement("time");
    time.textContent = new Date().toLocaleTimeString([], { hour12: false });
    line.append(time, text);
    list.append(line);
    while (list.childElementCount > LINES) list.firstElementChild.remove();
    if (follows) list.scrollTop = list.scrollHeight;
  }
}
