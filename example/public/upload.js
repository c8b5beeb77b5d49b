/* global WebSocket, URL, addEventListener, fetch */
import { byId, element, enable, formatBytes, isOver, routeUrl, showState } from './panel.js'

// two of them in memory at a time, however large the file is
const SLICE_LENGTH = 4 * 1024 * 1024

const choice = byId('upload-file')
const send = byId('upload-send')
const cancel = byId('upload-cancel')
const state = byId('upload-state')
const outcome = byId('upload-outcome')

// What is under way, or was last: { file, socket, id, bytes, sha256, blob, isOver }. The server tells id, bytes and sha256; blob is
// what has come back.
let transfer = null
let downloadUrl = null

render()

byId('upload-form').addEventListener('submit', (event) => {
  event.preventDefault()
  const [file] = choice.files
  if (file && !isUnderWay()) start(file)
})

cancel.addEventListener('click', () => {
  finish(transfer, 'cancelled', `Cancelled: ${there(transfer)}.`)
})

// whoever leaves the page has no use for the rest of it
addEventListener('pagehide', () => { if (isUnderWay()) drop(transfer) })

function start (file) {
  if (downloadUrl) URL.revokeObjectURL(downloadUrl)
  downloadUrl = null
  outcome.replaceChildren()
  delete outcome.dataset.kind

  const socket = new WebSocket(routeUrl('/upload'))
  const started = { file, socket, id: null, bytes: 0, sha256: null, blob: null, isOver: false }
  transfer = started
  showBar('there', 0, 'connecting')
  showBar('back', 0, '')

  socket.addEventListener('open', render)
  socket.addEventListener('message', ({ data }) => {
    if (started.isOver) return
    if (typeof data === 'string') receive(started, JSON.parse(data))
    else void verify(started, data)
  })
  socket.addEventListener('close', ({ code, reason }) => {
    if (!started.blob) finish(started, 'failed', explain(started, code, reason))
    render()
  })
  render()
}

function receive (current, report) {
  switch (report.type) {
    case 'ready':
      current.id = report.id
      if (current.file.size > report.maxBytes) {
        finish(current, 'failed', `The file has ${formatBytes(current.file.size)}, and the server takes up to ${formatBytes(report.maxBytes)}.`)
        return
      }
      current.socket.send(current.file)
      showThere(current)
      break
    case 'progress':
      current.bytes = report.bytes
      showThere(current)
      break
    case 'stored':
      current.bytes = report.bytes
      current.sha256 = report.sha256
      showThere(current)
      showBar('back', null, 'on its way')
      break
  }
}

async function verify (current, blob) {
  current.blob = blob
  current.socket.close(1000)
  render()
  try {
    const isIdentical = await compare(current, blob)
    if (current.isOver) return
    showBar('back', 1, formatBytes(blob.size))
    downloadUrl = URL.createObjectURL(blob)
    const link = element('a', '', 'Download what came back')
    Object.assign(link, { id: 'upload-download', href: downloadUrl, download: current.file.name })
    finish(current, isIdentical ? 'done' : 'failed',
      isIdentical ? `Identical: ${formatBytes(blob.size)} went there and came back.` : `Not identical: ${formatBytes(blob.size)} came back.`,
      element('p', '', element('span', 'note', 'SHA-256 on the server '), element('span', 'mono', current.sha256)),
      element('p', '', link))
  } catch (error) {
    // a file that was changed meanwhile cannot be read any more
    finish(current, 'failed', `The file could not be compared with what came back: ${error.message}`)
  }
}

async function compare (current, blob) {
  const { file, bytes } = current
  if (file.size !== bytes || file.size !== blob.size) return false
  for (let start = 0; start < file.size; start += SLICE_LENGTH) {
    showBar('back', start / file.size, `comparing, ${formatBytes(start)} of ${formatBytes(file.size)}`)
    const [sent, returned] = await Promise.all([bytesOf(file, start), bytesOf(blob, start)])
    if (current.isOver || !isSame(sent, returned)) return false
  }
  return true
}

// no every(): a call for each byte would take longer than the network
function isSame (sent, returned) {
  for (let index = 0; index < sent.length; index++) {
    if (sent[index] !== returned[index]) return false
  }
  return sent.length === returned.length
}

async function bytesOf (blob, start) {
  return new Uint8Array(await blob.slice(start, start + SLICE_LENGTH).arrayBuffer())
}

/** The first call counts. */
function finish (current, kind, summary, ...details) {
  if (current.isOver) return
  current.isOver = true
  if (!current.blob) drop(current)
  if (kind !== 'done') stopBars(current)
  outcome.dataset.kind = kind
  outcome.replaceChildren(element('p', 'summary', summary), ...details)
  render()
}

// A Close frame would wait behind the whole of the file, so the server is asked to drop the connection. It may be CLOSING already:
// Firefox closes it before a page hears that it is left.
function drop ({ socket, id }) {
  if (id && !isOver(socket)) fetch(`/upload/${id}`, { method: 'DELETE', keepalive: true }).catch(() => {})
  socket.close(1000)
}

function explain (current, code, reason) {
  const why = reason ? `${code}, ${reason}` : code
  if (!current.id) return `The server could not be reached, or is busy with other files (${why}).`
  if (code === 1001) return `The server is shutting down (${why}): ${there(current)}.`
  return `The connection was lost (${why}): ${there(current)}.`
}

function there ({ file, bytes, sha256 }) {
  return sha256 ? 'all was there, and not yet back' : `${formatBytes(bytes)} of ${formatBytes(file.size)} were there`
}

function showThere ({ file, bytes, sha256 }) {
  showBar('there', sha256 ? 1 : bytes / (file.size || 1), sha256 ? formatBytes(bytes) : `${formatBytes(bytes)} of ${formatBytes(file.size)}`)
}

/** Shows a share from 0 to 1; null: nobody knows. */
function showBar (name, share, text) {
  const bar = byId(`upload-${name}`)
  if (share === null) bar.removeAttribute('value')
  else bar.value = share
  byId(`upload-${name}-text`).textContent = text
}

/** No bar goes on moving. */
function stopBars (current) {
  if (!current.id) showBar('there', 0, '')
  if (!current.blob) showBar('back', 0, '')
}

function isUnderWay () {
  return transfer !== null && !transfer.isOver
}

function render () {
  const underWay = isUnderWay()
  // all is back when the page closes the connection
  showState(state, transfer?.socket, outcome.dataset.kind === 'done' || (underWay && transfer.blob !== null))
  enable([
    [choice, !underWay],
    [send, !underWay],
    [cancel, underWay]
  ], underWay ? cancel : choice)
}
