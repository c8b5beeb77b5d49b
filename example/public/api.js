/* global WebSocket */
import { resolve, sampleOf } from './api/sample.js'
import { Log, byId, element, enable, isOpen, isOver, routeUrl, showState, timeElement } from './panel.js'

const channelBox = byId('try-channel')
const given = byId('try-given')
const about = byId('try-about')
const connect = byId('try-connect')
const close = byId('try-close')
const messageBox = byId('try-message')
const payload = byId('try-payload')
const send = byId('try-send')
const state = byId('try-state')
const log = new Log(byId('try-log'))

let socket = null
let hasEndedWell = false

const response = await fetch('/asyncapi.json')
const root = await response.json()
// whoever says nothing of its messages is left to the other pages
const channels = Object.entries(root.channels).filter(([id]) => operationsOf(id).length > 0)
channelBox.append(...channels.map(([id, { address }]) => option(id, address)))
showChannel()

channelBox.addEventListener('change', showChannel)
messageBox.addEventListener('change', showMessage)
close.addEventListener('click', () => {
  socket.close(1000)
  render()
})
byId('try-clear').addEventListener('click', () => { log.clear() })

byId('try-connect-form').addEventListener('submit', (event) => {
  event.preventDefault()
  if (isOver(socket)) open(urlOf(root.channels[channelBox.value]))
})

byId('try-send-form').addEventListener('submit', (event) => {
  event.preventDefault()
  if (!isOpen(socket)) return
  socket.send(payload.value)
  record('message', 'out', element('bdi', 'text', payload.value))
})

function open (url) {
  socket = new WebSocket(url)
  socket.addEventListener('open', () => {
    record('open', '', element('span', 'mono', socket.url))
    render()
    payload.focus({ preventScroll: true })
  })
  socket.addEventListener('message', ({ data }) => {
    record('message', 'in', element('bdi', 'text', typeof data === 'string' ? data : 'binary'))
  })
  socket.addEventListener('close', ({ code, reason, wasClean }) => {
    hasEndedWell = code === 1000
    record('close', '', element('span', 'mono', String(code)), reason ? element('q', '', element('bdi', '', reason)) : element('span', 'note', 'no reason'))
    if (!wasClean && !reason) record('error', '', 'The connection failed.')
    render()
  })
  render()
}

/** The fields that the URL of a channel needs, and the messages that may be sent there. */
function showChannel () {
  const channel = root.channels[channelBox.value]
  const query = resolve(channel.bindings.ws.query, root) ?? {}
  given.replaceChildren(
    ...Object.entries(channel.parameters ?? {}).map(([name, parameter]) => field('parameter', name, parameter.examples?.[0] ?? parameter.default ?? parameter.enum?.[0] ?? '', true)),
    ...Object.entries(query.properties ?? {}).map(([name, schema]) => {
      const isRequired = (query.required ?? []).includes(name)
      return field('query', name, isRequired ? sampleOf(schema, root) : '', isRequired)
    })
  )
  about.textContent = [channel.summary, channel.description].filter(Boolean).join(' ')
  const receiving = operationsOf(channelBox.value).filter(({ action }) => action === 'receive')
  const messages = receiving.flatMap(({ messages }) => messages).map((message) => [message.$ref, resolve(message, root)])
  messageBox.replaceChildren(...messages.map(([reference, { name, title }]) => option(reference, title ?? name)))
  showMessage()
}

function showMessage () {
  const message = messageBox.value && resolve({ $ref: messageBox.value }, root)
  payload.value = message ? JSON.stringify(sampleOf(message.payload, root), null, 2) : ''
  render()
}

function urlOf ({ address }) {
  const fields = [...given.querySelectorAll('input')]
  const valueOf = (kind) => Object.fromEntries(fields.filter(({ dataset }) => dataset.kind === kind).map(({ name, value }) => [name, value]))
  const parameters = valueOf('parameter')
  const url = routeUrl(address.replaceAll(/\{([\w-]+)\}/g, (_, name) => encodeURIComponent(parameters[name])))
  for (const [name, value] of Object.entries(valueOf('query'))) if (value) url.searchParams.set(name, value)
  return url
}

function operationsOf (channel) {
  return Object.values(root.operations).filter((operation) => operation.channel.$ref === `#/channels/${channel}`)
}

function option (value, text) {
  const result = element('option', '', text)
  result.value = value
  return result
}

function field (kind, name, value, isRequired) {
  const input = element('input')
  Object.assign(input, { id: `try-${kind}-${name}`, name, value, required: isRequired, placeholder: isRequired ? '' : 'optional' })
  input.dataset.kind = kind
  input.dataset.testid = input.id
  const label = element('label', '', name)
  label.htmlFor = input.id
  return element('div', 'field grow', label, input)
}

function record (kind, direction, ...details) {
  const name = { in: 'received', out: 'sent' }[direction] ?? kind
  const entry = element('li', '', timeElement(new Date(), true), element('span', 'kind', name), element('span', 'details', ...details.flatMap((detail) => [detail, ' '])))
  Object.assign(entry.dataset, { kind, direction })
  log.append(entry)
}

function render () {
  showState(state, socket, hasEndedWell)
  const over = isOver(socket)
  const mayClose = !over && socket.readyState !== WebSocket.CLOSING
  enable([
    [channelBox, over],
    ...[...given.querySelectorAll('input')].map((input) => [input, over]),
    [connect, over],
    [close, mayClose],
    [messageBox, messageBox.options.length > 0],
    [payload, messageBox.options.length > 0],
    [send, isOpen(socket) && messageBox.options.length > 0]
  ], over ? connect : payload)
}
