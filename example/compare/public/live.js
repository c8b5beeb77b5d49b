/* global WebSocket, location */
import { drawPicture } from './picture.js'

const picture = document.getElementById('picture')
const badge = document.getElementById('state')

const url = new URL('/live', location.href)
url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:'
const socket = new WebSocket(url)

socket.addEventListener('message', ({ data }) => {
  const comparison = JSON.parse(data)
  picture.innerHTML = drawPicture(comparison)
  const runs = [...comparison.neverReading, ...comparison.listeningLate, ...comparison.pushing]
  const done = runs.filter(({ state }) => state === 'done').length
  if (done === runs.length) show('open', 'measured')
  else show('connecting', `measuring ${done + 1} of ${runs.length}`)
})
socket.addEventListener('close', () => {
  if (badge.dataset.state !== 'open') show('closed', 'ended before it was measured')
})

function show (state, label) {
  badge.dataset.state = state
  badge.value = label
}
