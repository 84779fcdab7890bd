// The official SDK and a WebSocket for it, for tests in directories that have no packages of their own.

export { Centrifuge } from "centrifuge";
export { WebSocket, WebSocketServer } from "ws";
