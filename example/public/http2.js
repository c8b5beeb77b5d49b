/* global WebSocket, document, location, performance */
import { byId, element, enable, isOpen, routeUrl, showStateOf } from './panel.js'

const MAX_SOCKETS = 12

const table = byId('http2-sockets')
const open = byId('http2-open')
const close = byId('http2-close')
const summary = byId('http2-summary')
const hint = byId('http2-hint')

const sockets = new Map() // WebSocket -> { httpVersion, port }
let lastNumber = 0

// 'h2' or 'http/1.1'; Firefox leaves it empty for pages over TLS that it does not trust
const pageProtocol = performance.getEntriesByType('navigation')[0]?.nextHopProtocol
showStateOf(byId('http2-state'), 'open', pageProtocol ? `this page: ${pageProtocol}` : `this page: ${location.protocol}`)

open.addEventListener('click', add)
close.addEventListener('click', () => { for (const socket of sockets.keys()) socket.close(1000) })
for (let i = 0; i < 3; i++) add()

function add () {
  const number = ++lastNumber
  const socket = new WebSocket(routeUrl('/http2/socket'))
  const [version, port, time] = ['…', '…', '…'].map((text) => element('td', '', text))
  const row = element('tr', '', element('td', '', String(number)), version, port, time)
  let sentAt = null
  sockets.set(socket, null)
  table.append(row)
  socket.addEventListener('message', ({ data }) => {
    if (sentAt !== null) {
      time.textContent = `${(performance.now() - sentAt).toFixed(1)} ms`
      return
    }
    const facts = JSON.parse(data)
    sockets.set(socket, facts)
    version.textContent = `HTTP/${facts.httpVersion.replace(/\.0$/, '')}`
    port.textContent = facts.port
    sentAt = performance.now()
    socket.send('ping')
    render()
  })
  socket.addEventListener('close', () => {
    sockets.delete(socket)
    row.remove()
    render()
  })
  render()
}

function render () {
  const all = [...sockets.values()].filter(Boolean)
  enable([[open, sockets.size < MAX_SOCKETS], [close, [...sockets.keys()].some(isOpen)]], sockets.size < MAX_SOCKETS ? open : close)
  if (all.length === 0) {
    summary.textContent = sockets.size === 0 ? 'No WebSocket is open.' : 'Connecting …'
    return
  }
  const connections = new Set(all.map(({ port }) => port)).size
  summary.textContent = `${all.length} WebSocket${all.length === 1 ? '' : 's'} over ${connections} TCP connection${connections === 1 ? '' : 's'}.`
  summary.dataset.connections = connections
  const { securePort } = all[0]
  if (location.protocol === 'https:') {
    hint.textContent = 'Over HTTP/2 each WebSocket is a stream of the connection that the page came over: no further handshake of TCP and TLS, and one session for all. A browser that has been told to go (GOAWAY) may come back over HTTP/1.1, so the server has that too.'
  } else if (securePort === null) {
    hint.textContent = 'Over HTTP/1.1 each WebSocket has a TCP connection of its own. Browsers speak HTTP/2 over TLS alone, and this server has no certificate: npm start makes one where openssl is installed.'
  } else {
    const link = element('a', '', 'Open this page over HTTP/2')
    link.href = `https://${location.hostname === '127.0.0.1' ? 'localhost' : location.hostname}:${securePort}${location.pathname}`
    link.dataset.testid = 'http2-secure'
    if (document.activeElement !== hint.querySelector('a')) {
      hint.replaceChildren('Over HTTP/1.1 each WebSocket has a TCP connection of its own. Browsers speak HTTP/2 over TLS alone. ', link, '; the browser will warn of a certificate that nobody has signed.')
    }
  }
}
