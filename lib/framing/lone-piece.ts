import { Frame } from '../protocol/frame.ts'

/** A piece of a frame that has the memory of its payload to itself: nothing else of it is, or will be, in a frame. */
export class LonePiece extends Frame {}
