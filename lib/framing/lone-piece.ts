import { Frame } from '../protocol/frame.ts'

/** A piece of a frame whose payload is all that anybody has of a chunk. Once it is copied, the chunk may be freed. */
export class LonePiece extends Frame {}
