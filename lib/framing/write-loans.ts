const SIZE = 64 * 1024
// Altogether 4 MiB: more writes at a time allocate their own.
const MAX = 64

/**
 * Memory for writes that a stream is done with only once it calls back, such as those of TLS and HTTP/2. Memory that comes back is lent again, so that
 * large writes allocate nothing. Allocated anew, 16 KiB and more for each turn of each connection, it costs twice the CPU of the rest: it lies cold, and
 * V8 collects the whole heap for it.
 */
export class WriteLoans {
  readonly #idle: Buffer[] = []
  #lent = 0

  /** @returns 64 KiB; null while as much is lent as may be */
  lend (): Buffer | null {
    if (this.#lent === MAX) return null
    const memory = this.#idle.pop() ?? Buffer.allocUnsafeSlow(SIZE)
    this.#lent++
    return memory
  }

  /** @param isReusable whether nobody uses the memory any more */
  takeBack (memory: Buffer, isReusable = true): void {
    this.#lent--
    if (isReusable) this.#idle.push(memory)
  }
}
