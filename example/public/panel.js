// What all panels share: element building, the state badge, the log.
/* global WebSocket, document, location */

const MAX_LOG_ENTRIES = 500
const STATES = ['CONNECTING', 'OPEN', 'CLOSING', 'CLOSED']

export const byId = (id) => document.getElementById(id)

/** Gives the URL of a WebSocket route of this host: wss: on an https: page, else ws:. */
export function routeUrl (path) {
  const url = new URL(path, location.href)
  url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:'
  return url
}

/** Creates an element; text goes in as text, never as markup. */
export function element (name, className, ...children) {
  const result = document.createElement(name)
  if (className) result.className = className
  result.append(...children)
  return result
}

export function isOpen (socket) {
  return socket?.readyState === WebSocket.OPEN
}

/** Tells whether a new connection may be made: there is none yet, or the last one is closed. */
export function isOver (socket) {
  return !socket || socket.readyState === WebSocket.CLOSED
}

/** Shows `readyState` in words and, for styles and tests, as data-state; `isFine`: a connection that is closed has ended as it should. */
export function showState (badge, socket, isFine = false) {
  const state = socket ? STATES[socket.readyState] : 'NONE'
  badge.dataset.state = state.toLowerCase()
  badge.dataset.fine = isFine
  badge.value = socket ? `${state} · ${socket.readyState}` : 'not connected'
}

/** Shows a state that is none of a WebSocket's: its name for styles and tests, and its words. */
export function showStateOf (badge, state, words) {
  badge.dataset.state = state
  badge.value = words
}

/** Enables each control as told; where that takes the focus away, `refuge` gets it. */
export function enable (controls, refuge) {
  const focused = document.activeElement
  for (const [control, enabled] of controls) control.disabled = !enabled
  if (focused?.disabled) refuge.focus({ preventScroll: true })
}

/** A list in a scrolling box. It follows its end as long as the reader has not scrolled up. */
export class Log {
  #box
  #list

  constructor (box) {
    this.#box = box
    this.#list = box.querySelector('ol')
  }

  append (entry) {
    const box = this.#box
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 24
    this.#list.append(entry)
    if (this.#list.childElementCount > MAX_LOG_ENTRIES) this.#list.firstElementChild.remove()
    if (atEnd) box.scrollTop = box.scrollHeight
  }

  clear () {
    this.#list.replaceChildren()
  }
}

/** Creates a `time` element that shows hours and minutes; `toTheMillisecond` adds the rest. */
export function timeElement (date, toTheMillisecond) {
  const shown = { hour: '2-digit', minute: '2-digit', ...toTheMillisecond && { second: '2-digit', fractionalSecondDigits: 3 } }
  const result = element('time', '', date.toLocaleTimeString('en-GB', shown))
  result.dateTime = date.toISOString()
  return result
}

export function formatBytes (count) {
  if (count < 1024) return `${count} B`
  if (count < 1024 * 1024) return `${Number((count / 1024).toFixed(1))} KiB`
  if (count < 1024 ** 3) return `${Number((count / 1024 ** 2).toFixed(1))} MiB`
  return `${Number((count / 1024 ** 3).toFixed(2))} GiB`
}
