/* global AbortController, setInterval */
import { Log, byId, element, enable, routeUrl, showStateOf, timeElement } from './panel.js'
import { reconnect } from './reconnect.js' // fastify-websocket-stream/browser

const MOODS = ['Bright', 'Calm', 'Gentle', 'Lively', 'Merry', 'Quiet', 'Swift', 'Wise']
const ANIMALS = ['Badger', 'Falcon', 'Heron', 'Lynx', 'Marten', 'Otter', 'Robin', 'Seal']
const HUES = 8
// each node says who is there every 2 s; one that has not for so long is gone
const NODE_PATIENCE = 5000
const CUT_CODE = 4000
const CUT_LENGTH = 5000

const name = byId('chat-name')
const text = byId('chat-text')
const join = byId('chat-join')
const leave = byId('chat-leave')
const cut = byId('chat-cut')
const kill = byId('chat-kill')
const say = byId('chat-say')
const state = byId('chat-state')
const count = byId('chat-count')
const memberList = byId('chat-members')
const log = new Log(byId('chat-log'))

let visit = null

name.value = `${pick(MOODS)} ${pick(ANIMALS)}`
render()
setInterval(() => { if (visit) showMembers(visit) }, 1000)

byId('chat-join-form').addEventListener('submit', (event) => {
  event.preventDefault()
  if (!visit) void enter(name.value.trim())
})

leave.addEventListener('click', () => {
  visit.hasLeft = true
  // whoever waits for the next attempt has no connection to close
  if (visit.connection) visit.connection.close(1000)
  else visit.controller.abort()
})

cut.addEventListener('click', () => { visit.connection.close(CUT_CODE, 'cut') })
kill.addEventListener('click', () => { visit.connection.send({ type: 'kill' }) })

byId('chat-say-form').addEventListener('submit', (event) => {
  event.preventDefault()
  const said = text.value.trim()
  if (!said || !visit) return
  const message = { type: 'say', id: newId(), text: said }
  // shown at once, and in its place when it comes back: the conversation is the same for everybody
  visit.pending.set(message.id, { message, entry: showMessage(visit.you, said, true) })
  visit.connection?.send(message)
  text.value = ''
})

/** From joining to leaving, over as many connections as that takes. */
async function enter (chosenName) {
  const you = { id: newId(), name: chosenName }
  const current = {
    you,
    controller: new AbortController(),
    connection: null,
    since: null, // where this page is in the conversation
    seen: new Set(),
    pending: new Map(),
    nodes: new Map(), // name -> who is connected to it
    members: new Map(),
    lastCount: null,
    counted: { received: 0, missing: 0, twice: 0 },
    hasLeft: false,
    late: 0
  }
  visit = current

  const url = () => {
    const url = routeUrl('/chat')
    for (const [key, value] of Object.entries({ ...you, since: current.since })) if (value !== null) url.searchParams.set(key, value)
    return url
  }
  const talk = async (connection) => {
    current.connection = connection
    current.late = 0
    render()
    for await (const message of connection) receive(current, message)
  }
  const outcome = await reconnect(url, talk, {
    json: true,
    signal: current.controller.signal,
    backoff: { min: 500, max: 5000 },
    retry: ({ code, sent }) => sent?.code === CUT_CODE ? CUT_LENGTH : code !== 1000 && ![1002, 1003, 1007, 1008, 1009, 1010].includes(code),
    onState: (change) => { showState(current, change) }
  }).catch(error => error)

  visit = null
  const { code, reason } = outcome
  showNotice(current.hasLeft ? 'You left.' : `The connection is closed (${explain(code, reason)}).`, 'ended')
  byId('chat-cluster').hidden = true
  showStateOf(state, current.hasLeft ? 'closed' : 'failed', 'not connected')
  render()
}

function receive (current, message) {
  switch (message.type) {
    case 'welcome':
      showWelcome(current, message)
      break
    case 'here': {
      const isKnown = current.nodes.has(message.node)
      current.nodes.set(message.node, { at: Date.now(), members: message.members })
      showMembers(current, isKnown)
      break
    }
    case 'said':
      current.since = message.position
      current.late++
      // a message that was repeated, because its sender could not know whether it had arrived
      if (current.seen.has(message.id)) break
      current.seen.add(message.id)
      current.pending.get(message.id)?.entry.remove()
      current.pending.delete(message.id)
      showMessage(message.by, message.text, false)
      break
    case 'count':
      current.since = message.position
      current.late++
      checkCount(current, message.count)
      break
  }
}

function showWelcome (current, { node, nodes, position, recovered }) {
  const { connection, late, pending } = current
  if (current.since === null) showNotice(`You joined as ${current.you.name}.`, 'joined')
  else if (recovered) showNotice(`You are back${nodes > 1 ? ` on ${node}` : ''}. ${late === 0 ? 'Nothing was missed' : `${late} that came meanwhile ${late === 1 ? 'was' : 'were'} sent after you`}, and nothing is missing.`, 'back')
  else showNotice('You are back, and what was said meanwhile is not kept any more.', 'ended')
  current.since = position
  if (!recovered) current.lastCount = null
  // what has not come back by now has not arrived
  for (const { message } of pending.values()) connection.send(message)
  byId('chat-node').textContent = node
  byId('chat-cluster').hidden = nodes === 1
  text.focus({ preventScroll: true })
}

/** In a cluster somebody counts for everybody, so that a hole would show. */
function checkCount (current, counted) {
  const { lastCount, counted: sums } = current
  if (lastCount !== null && counted <= lastCount) sums.twice++
  else {
    sums.received++
    if (lastCount !== null) sums.missing += counted - lastCount - 1
    current.lastCount = counted
  }
  const check = byId('chat-count-check')
  Object.assign(check.dataset, sums)
  check.textContent = `${sums.received} counted, ${sums.missing} missing, ${sums.twice} twice`
}

/** Who has come or gone, as nodes tell of whom they have now; not those whom a node tells of first, who were there before. */
function showMembers (current, tellsWhoCame = true) {
  const now = Date.now()
  const members = new Map()
  for (const [node, { at, members: theirs }] of current.nodes) {
    if (now - at > NODE_PATIENCE && current.connection) current.nodes.delete(node)
    else for (const member of theirs) members.set(member.id, member)
  }
  const before = current.members
  current.members = members
  for (const { id, name } of members.values()) if (tellsWhoCame && !before.has(id) && id !== current.you.id) showNotice(`${name} joined.`, 'joined')
  for (const { id, name } of before.values()) if (!members.has(id) && id !== current.you.id) showNotice(`${name} left.`, 'left')
  renderMembers(current)
}

function showState (current, { state: now, delay, outcome }) {
  if (now !== 'open') {
    current.connection = null
    // who was where is not known any more
    for (const node of current.nodes.values()) node.at = Date.now()
  }
  if (now === 'waiting') {
    const again = delay > 950 ? `again in ${Math.round(delay / 1000)} s` : 'again at once'
    showNotice(outcome.sent?.code === CUT_CODE
      ? `Cut off for ${CUT_LENGTH / 1000} s.`
      : `The connection was lost (${explain(outcome.code, outcome.reason)}), ${again}.`, 'lost')
  }
  if (now !== 'ended') showStateOf(state, now, { connecting: 'connecting', open: 'connected', waiting: 'waiting' }[now])
  render()
}

function explain (code, reason) {
  return reason ? `${code}, ${reason}` : code
}

function showMessage (member, said, isPending) {
  const body = element('p', 'text', said)
  body.dir = 'auto'
  const isOwn = member.id === visit?.you.id
  const entry = element('li', 'message', avatar(member),
    element('div', 'bubble', element('p', 'by', element('bdi', '', isOwn ? 'You' : member.name), ' ', timeElement(new Date(), false)), body))
  Object.assign(entry.dataset, { kind: isPending ? 'pending' : 'said', own: isOwn })
  log.append(entry)
  return entry
}

function showNotice (content, kind) {
  const entry = element('li', 'notice', content)
  entry.dataset.kind = kind
  log.append(entry)
}

function avatar ({ id, name }) {
  const result = element('span', 'avatar', [...name.trim()][0].toUpperCase())
  result.dataset.hue = [...id].reduce((sum, character) => sum + character.codePointAt(0), 0) % HUES
  result.setAttribute('aria-hidden', 'true')
  return result
}

function pick (list) {
  return list[Math.floor(Math.random() * list.length)]
}

function newId () {
  return Math.random().toString(36).slice(2)
}

function renderMembers ({ members, you }) {
  count.textContent = members.size || ''
  memberList.replaceChildren(...[...members.values()].map((member) => {
    const item = element('li', '', avatar(member), element('bdi', 'name', member.name))
    if (member.id === you.id) item.append(' ', element('span', 'note', 'you'))
    return item
  }))
}

function render () {
  const isOpen = Boolean(visit?.connection)
  name.readOnly = visit !== null
  enable([
    [join, visit === null],
    [leave, visit !== null],
    [cut, isOpen],
    [kill, isOpen],
    // what is said while there is no connection goes out with the next
    [text, visit !== null],
    [say, visit !== null]
  ], visit === null ? join : name)
  if (!visit) {
    showStateOf(state, state.dataset.state ?? 'none', 'not connected')
    renderMembers({ members: new Map(), you: {} })
  }
}
