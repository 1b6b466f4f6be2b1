/**
 * How the timeline looks: quiet surfaces, one accent, a colour and a shape for each kind of thing. The demo's page serves
 * it before its own; the panel puts it into its shadow root.
 */
export const style: string = `
:root,
:host {
  --page: #f4f5f3;
  --card: #ffffff;
  --ink: #17201d;
  --muted: #56625d;
  --line: #dfe3df;
  --line-strong: #8b9691;
  --accent: #0b7a5f;
  --accent-ink: #ffffff;
  --sent: #3b63d3;
  --replay: #8a3fc4;
  --wait: #7c889e;
  --wait-ground: #e9ecf2;
  --own: #6b7672;
  --refresh: #0b7a5f;
  --column: rgb(11 122 95 / 12%);
  --unauthorized: #d9480f;
  --failed: #c02626;
  --failed-column: rgb(192 38 38 / 9%);
  --ask: #a15c00;
  --ask-column: rgb(214 140 20 / 14%);
  --fresh: #0b7a5f;
  --life: #37806b;
  --on-life: #ffffff;
  --life-ahead: #d7eae3;
  --focus: #1d4ed8;
  --shadow: 0 1px 2px rgb(20 30 26 / 5%), 0 6px 20px -12px rgb(20 30 26 / 18%);
}

@media (prefers-color-scheme: dark) {
  :root,
  :host {
    --page: #0f1412;
    --card: #171d1b;
    --ink: #e9efec;
    --muted: #9fada7;
    --line: #2a3330;
    --line-strong: #6c7a74;
    --accent: #3fbf97;
    --accent-ink: #06231a;
    --sent: #7f9dff;
    --replay: #c58af5;
    --wait: #66728a;
    --wait-ground: #232a35;
    --own: #8d9994;
    --refresh: #3fbf97;
    --column: rgb(63 191 151 / 15%);
    --unauthorized: #ff8a4c;
    --failed: #ff7b7b;
    --failed-column: rgb(255 123 123 / 12%);
    --ask: #f0b24a;
    --ask-column: rgb(240 178 74 / 13%);
    --fresh: #1a8465;
    --life: #2b6a56;
    --on-life: #ffffff;
    --life-ahead: #1c3a31;
    --focus: #8fb0ff;
    --shadow: none;
  }
}

.timeline {
  position: relative;
  margin-top: 10px;
  min-height: 190px;
  border-top: 1px solid var(--line);
}

.timeline:focus-visible {
  outline-offset: -2px;
}

.timeline svg {
  display: block;
  touch-action: pan-y;
}

.item text {
  pointer-events: none;
}

.timeline text {
  font-size: 12px;
  fill: var(--muted);
}

.timeline .tab {
  font-size: 13px;
  font-weight: 650;
  fill: var(--ink);
}

.timeline .row {
  font-size: 12px;
}

.timeline .tick {
  font-size: 11px;
  font-variant-numeric: tabular-nums;
}

.timeline .tick.now {
  font-weight: 650;
  fill: var(--ink);
}

.grid {
  stroke: var(--line);
  stroke-width: 1;
  opacity: 0.7;
}

.edge {
  stroke: var(--line);
}

.lane {
  fill: transparent;
}

.lane.mine {
  fill: var(--accent);
  opacity: 0.045;
}

.future {
  fill: var(--ink);
  opacity: 0.025;
}

line.now {
  stroke: var(--ink);
  stroke-width: 1.5;
  pointer-events: none;
}

.item {
  cursor: default;
}

.hit {
  fill: transparent;
}

.life {
  fill: var(--life);
}

.life.fresh {
  fill: var(--fresh);
}

.life.ahead,
.life.fresh.ahead {
  fill: var(--life-ahead);
}

.dead {
  fill: url(#hatch-dead);
}

.hatch-dead.ground {
  fill: var(--life-ahead);
}

line.hatch-dead {
  stroke: var(--failed);
  stroke-width: 2;
}

.cut {
  stroke: var(--failed);
  stroke-width: 2;
}

.timeline .on-life {
  font-weight: 600;
  fill: var(--on-life);
}

.timeline .note {
  font-size: 11px;
}

.timeline .cut-note {
  font-weight: 600;
  fill: var(--failed);
  paint-order: stroke;
  stroke: var(--card);
  stroke-width: 4px;
  stroke-linejoin: round;
}

.column {
  fill: var(--column);
  pointer-events: none;
}

.column.failed,
.column.refused {
  fill: var(--failed-column);
}

.column.ask {
  fill: var(--ask-column);
}

.cap {
  fill: var(--refresh);
}

.cap.failed,
.cap.refused {
  fill: var(--failed);
}

.cap.ask {
  fill: var(--ask);
}

.pause {
  fill: var(--card);
  opacity: 0.75;
}

.timeline .on-cap {
  font-size: 11px;
  font-weight: 600;
  fill: var(--card);
}

.send {
  fill: var(--sent);
}

.send.replay {
  fill: var(--replay);
}

.send.own {
  fill: var(--own);
}

.send.offline {
  fill: var(--failed);
}

.wait {
  fill: url(#hatch-wait);
  stroke: var(--wait);
  stroke-width: 1;
}

.hatch-wait.ground {
  fill: var(--wait-ground);
}

line.hatch-wait {
  stroke: var(--wait);
  stroke-width: 2;
}

.again {
  fill: none;
  stroke: var(--card);
  stroke-width: 1.4;
  stroke-linecap: round;
  stroke-linejoin: round;
}

.diamond {
  fill: var(--failed);
  stroke: var(--card);
  stroke-width: 1;
}

.diamond.refused {
  fill: var(--unauthorized);
}

.cross {
  fill: none;
  stroke: var(--failed);
  stroke-width: 2;
  stroke-linecap: round;
}

.stem {
  stroke: var(--line-strong);
  stroke-width: 1.25;
  stroke-dasharray: 2 2;
  pointer-events: none;
}

.stem.loggedIn {
  stroke: var(--accent);
}

.stem.loggedOut {
  stroke: var(--ink);
  stroke-dasharray: none;
}

.stem.refreshFailed {
  stroke: none;
}

.dot {
  fill: var(--muted);
  stroke: var(--card);
  stroke-width: 1.5;
}

.dot.loggedIn {
  fill: var(--accent);
}

.dot.loggedOut {
  fill: var(--ink);
}

.dot.clockSkew {
  fill: var(--ask);
}

.item.chosen .hit {
  stroke: var(--focus);
  stroke-width: 1.5;
  rx: 4px;
}

.item.chosen > :not(.hit):not(text) {
  filter: brightness(1.08);
}

.tip:not([hidden]) {
  display: grid;
}

.tip {
  position: absolute;
  top: 0;
  left: 0;
  z-index: 2;
  gap: 1px;
  width: max-content;
  max-width: min(340px, calc(100% - 8px));
  padding: 9px 12px 10px;
  border-radius: 10px;
  background: var(--ink);
  color: var(--card);
  font-size: 13px;
  line-height: 1.4;
  pointer-events: none;
  box-shadow: 0 8px 24px -8px rgb(0 0 0 / 45%);
}

.tip strong {
  font-size: 13.5px;
}

.tip span {
  opacity: 0.86;
}

@media (forced-colors: active) {
  .send,
  .cap,
  .life,
  .diamond {
    forced-color-adjust: none;
  }
}
`
