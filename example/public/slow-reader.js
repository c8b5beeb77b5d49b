/* global WebSocket */
import { byId, element, enable, formatBytes, isOpen, isOver, routeUrl, showStateOf } from './panel.js'

// KiB per second, by the position of the slider
const RATES = [0, ...Array.from({ length: 15 }, (_, i) => 2 ** (i + 1))]
const LIMIT = 16 * 1024 * 1024
const SHOWN = 300 // samples, ten a second
const [WIDTH, HEIGHT] = [600, 160]

const rate = byId('slow-rate')
const rateText = byId('slow-rate-text')
const start = byId('slow-start')
const stop = byId('slow-stop')
const state = byId('slow-state')
const outcome = byId('slow-outcome')
const figures = ['sent', 'received', 'kernel', 'unsent'].map((name) => [name, byId(`slow-${name}`)])
const choices = [byId('slow-waits'), byId('slow-does-not')]

let socket = null
let samples = []

showRate()
render()

byId('slow-form').addEventListener('submit', (event) => {
  event.preventDefault()
  if (isOver(socket)) begin(byId('slow-waits').checked)
})

stop.addEventListener('click', () => { socket.close(1000) })

rate.addEventListener('input', () => {
  showRate()
  if (isOpen(socket)) tellRate()
})

function begin (waits) {
  samples = []
  outcome.replaceChildren()
  delete outcome.dataset.kind
  const url = routeUrl('/slow-reader/samples')
  url.searchParams.set('waits', waits)
  const current = new WebSocket(url)
  socket = current
  current.addEventListener('open', () => {
    tellRate()
    render()
  })
  current.addEventListener('message', ({ data }) => { show(JSON.parse(data)) })
  current.addEventListener('close', ({ code }) => {
    if (code !== 1000) finish(`The connection was closed (${code}): the server is gone, or busy with other readers.`)
    showStateOf(state, 'none', 'not running')
    render()
  })
  render()
}

function tellRate () {
  socket.send(JSON.stringify({ rate: RATES[rate.value] }))
}

function show (sample) {
  const { sent, received, unsent, isWaiting, ended } = sample
  // what was in the kernel has gone with the connection
  if (!ended) for (const [name, figure] of figures) figure.textContent = formatBytes(name === 'kernel' ? Math.max(0, sent - received - unsent) : sample[name])
  samples.push(unsent)
  if (samples.length > SHOWN) samples.shift()
  draw()
  if (!ended) {
    showStateOf(state, isWaiting ? 'waiting' : 'open', isWaiting ? 'the server waits' : 'the server sends')
    return
  }
  finish({
    slow: `The server has given the reader up: more than 16 MiB were unsent (${ended.code}).`,
    stalled: `The server has given the reader up: it took nothing for a minute (${ended.code}).`
  }[ended.cause] ?? `The reader’s connection has ended (${ended.code}, ${ended.cause}).`)
  socket.close(1000)
}

function finish (words) {
  outcome.dataset.kind = 'failed'
  outcome.replaceChildren(element('p', 'summary', words))
}

/** Unsent bytes over time, the newest at the right. */
function draw () {
  const points = samples.map((unsent, i) => `${(WIDTH * (SHOWN - samples.length + i + 1) / SHOWN).toFixed(1)},${(HEIGHT * (1 - Math.min(1, unsent / LIMIT))).toFixed(1)}`)
  const line = `M${points.join('L')}`
  const first = WIDTH * (SHOWN - samples.length + 1) / SHOWN
  byId('slow-line').setAttribute('d', line)
  byId('slow-area').setAttribute('d', `${line}L${WIDTH},${HEIGHT}L${first},${HEIGHT}Z`)
}

function showRate () {
  const value = RATES[rate.value]
  const words = value === 0 ? 'nothing' : `${formatBytes(value * 1024)} a second`
  rateText.value = words
  rate.setAttribute('aria-valuetext', words)
}

function render () {
  if (!socket || isOver(socket)) showStateOf(state, 'none', 'not running')
  const over = isOver(socket)
  enable([[start, over], [stop, isOpen(socket)], ...choices.map((choice) => [choice, over])], over ? start : stop)
}
