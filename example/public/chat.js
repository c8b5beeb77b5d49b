/* global WebSocket */
import { Log, byId, element, enable, isOpen, isOver, routeUrl, showState, timeElement } from './panel.js'

const MOODS = ['Bright', 'Calm', 'Gentle', 'Lively', 'Merry', 'Quiet', 'Swift', 'Wise']
const ANIMALS = ['Badger', 'Falcon', 'Heron', 'Lynx', 'Marten', 'Otter', 'Robin', 'Seal']
const HUES = 8

const name = byId('chat-name')
const text = byId('chat-text')
const join = byId('chat-join')
const leave = byId('chat-leave')
const say = byId('chat-say')
const state = byId('chat-state')
const count = byId('chat-count')
const memberList = byId('chat-members')
const log = new Log(byId('chat-log'))

let socket = null
let hasEndedWell = false
let you = null
const members = new Map()

name.value = `${pick(MOODS)} ${pick(ANIMALS)}`
render()

byId('chat-join-form').addEventListener('submit', (event) => {
  event.preventDefault()
  if (isOver(socket)) enter(name.value.trim())
})

leave.addEventListener('click', () => {
  socket.close(1000)
  render()
})

byId('chat-say-form').addEventListener('submit', (event) => {
  event.preventDefault()
  const said = text.value.trim()
  if (!said || !isOpen(socket)) return
  socket.send(JSON.stringify({ type: 'say', text: said }))
  // the room passes a message on to the others only
  showMessage(members.get(you), said)
  text.value = ''
})

function enter (chosenName) {
  const url = routeUrl('/chat')
  url.searchParams.set('name', chosenName)
  socket = new WebSocket(url)
  let opened = false

  socket.addEventListener('open', () => {
    opened = true
    render()
    text.focus({ preventScroll: true })
  })
  socket.addEventListener('message', ({ data }) => { receive(JSON.parse(data)) })
  socket.addEventListener('close', ({ code, reason }) => {
    hasEndedWell = code === 1000
    members.clear()
    you = null
    const why = reason ? `${code}, ${reason}` : code
    showNotice(!opened ? `The room could not be entered (${why}).` : code === 1000 ? 'You left.' : `The connection is closed (${why}).`, 'ended')
    render()
  })
  render()
}

function receive (message) {
  switch (message.type) {
    case 'members':
      you = message.you
      for (const member of message.members) members.set(member.id, member)
      showNotice(`You joined as ${members.get(you).name}.`, 'joined')
      render()
      break
    case 'joined':
      members.set(message.member.id, message.member)
      showNotice(`${message.member.name} joined.`, 'joined')
      render()
      break
    case 'left':
      members.delete(message.member.id)
      showNotice(`${message.member.name} left.`, 'left')
      render()
      break
    case 'said':
      showMessage(message.member, message.text)
      break
  }
}

function showMessage (member, said) {
  const body = element('p', 'text', said)
  body.dir = 'auto'
  const entry = element('li', 'message', avatar(member),
    element('div', 'bubble', element('p', 'by', element('bdi', '', member.id === you ? 'You' : member.name), ' ', timeElement(new Date(), false)), body))
  Object.assign(entry.dataset, { kind: 'said', own: member.id === you })
  log.append(entry)
}

function showNotice (content, kind) {
  const entry = element('li', 'notice', content)
  entry.dataset.kind = kind
  log.append(entry)
}

function avatar ({ id, name }) {
  const result = element('span', 'avatar', [...name.trim()][0].toUpperCase())
  result.dataset.hue = id % HUES
  result.setAttribute('aria-hidden', 'true')
  return result
}

function pick (list) {
  return list[Math.floor(Math.random() * list.length)]
}

function render () {
  showState(state, socket, hasEndedWell)
  const open = isOpen(socket)
  const over = isOver(socket)
  name.readOnly = !over
  enable([
    [join, over],
    [leave, !over && socket.readyState !== WebSocket.CLOSING],
    [text, open],
    [say, open]
  ], over ? join : name)

  count.textContent = members.size || ''
  memberList.replaceChildren(...[...members.values()].map((member) => {
    const item = element('li', '', avatar(member), element('bdi', 'name', member.name))
    if (member.id === you) item.append(' ', element('span', 'note', 'you'))
    return item
  }))
}
