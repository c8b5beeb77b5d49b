/* global WebSocket */
import { Log, byId, element, enable, isOpen, isOver, routeUrl, showState, timeElement } from './panel.js'
import { reconnect } from './reconnect.js' // fastify-websocket-stream/browser

const prompt = byId('tokens-prompt')
const ask = byId('tokens-ask')
const stop = byId('tokens-stop')
const state = byId('tokens-state')
const box = byId('tokens-answer')
const answer = byId('tokens-text')
const counter = byId('tokens-count')
const log = new Log(byId('tokens-log'))

let socket = null
let count = 0
let isFine = false

render()

byId('tokens-form').addEventListener('submit', (event) => {
  event.preventDefault()
  if (isOver(socket)) begin(prompt.value)
})

stop.addEventListener('click', () => {
  socket.close(1000)
  render()
})

// one question, one connection: there is nothing to come back for
function begin (question) {
  count = 0
  answer.textContent = ''
  socket = new WebSocket(routeUrl('/tokens/answer'))
  socket.addEventListener('open', () => {
    socket.send(JSON.stringify({ prompt: question }))
    render()
    stop.focus({ preventScroll: true })
  })
  socket.addEventListener('message', ({ data }) => {
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 24
    answer.append(JSON.parse(data).token)
    if (atEnd) box.scrollTop = box.scrollHeight
    count++
  })
  socket.addEventListener('close', ({ code }) => {
    isFine = code === 1000
    counter.textContent = `${count} tokens came before the connection was closed (${code}).`
    render()
  })
  render()
}

function render () {
  showState(state, socket, isFine)
  enable([[ask, isOver(socket)], [stop, isOpen(socket)]], isOver(socket) ? ask : prompt)
}

// what the server tells of all its generators, for as long as the page is shown
await reconnect(routeUrl('/tokens/log'), async (connection) => {
  for await (const line of connection) log.append(element('li', '', timeElement(new Date(), true), element('span', 'details', line)))
})
