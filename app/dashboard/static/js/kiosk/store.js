// Pictures that wait, in IndexedDB: they outlive reloads and power cuts, the oldest first.
const MOST = 500;
const MOST_BYTES = 100_000_000;
// What browsers call a connection that they have shut.
const SHUT = ["InvalidStateError", "UnknownError"];

/** Says that no more fits: the oldest are kept, because they are the only proof of their hour. */
export class FullError extends Error {}

export class Store {
  #database = null;
  #connecting = null;
  #count = 0;
  #bytes = 0;

  /** Rejects where the browser keeps nothing: in a private window, or on a full or broken disk. */
  static async open() {
    const store = new Store();
    await store.#opened();
    return store;
  }

  get count() {
    return this.#count;
  }

  /** Keeps a picture; resolves once it is on the disk. */
  async put(picture) {
    if (this.#count >= MOST || this.#bytes + picture.jpeg.byteLength > MOST_BYTES) throw new FullError();
    await this.#write((pictures) => pictures.add(picture));
    this.#count += 1;
    this.#bytes += picture.jpeg.byteLength;
  }

  /** The oldest that may be sent at this time; null where there is none. */
  async first(now) {
    let found = null;
    await this.#use((database) =>
      walk(database, (picture) => {
        if ((picture.notBefore ?? 0) > now) return true;
        found = picture;
        return false;
      }),
    );
    return found;
  }

  /** Puts one behind the others until some time. */
  async setBehind(picture, until) {
    await this.#write((pictures) => pictures.put({ ...picture, notBefore: until }));
  }

  async remove(picture) {
    await this.#write((pictures) => pictures.delete(picture.n));
    this.#count = Math.max(0, this.#count - 1); // the disk may have been emptied meanwhile
    this.#bytes = Math.max(0, this.#bytes - picture.jpeg.byteLength);
  }

  #write(work) {
    return this.#use((database) => {
      const transaction = database.transaction("pictures", "readwrite", { durability: "strict" });
      work(transaction.objectStore("pictures"));
      return new Promise((resolve, reject) => {
        transaction.oncomplete = resolve;
        transaction.onabort = () => reject(transaction.error ?? new Error("aborted"));
      });
    });
  }

  /** Browsers shut a connection on their own when the disk fails for a moment or is emptied: then it is opened again. */
  async #use(work) {
    try {
      return await work(await this.#opened());
    } catch (error) {
      if (!SHUT.includes(error.name)) throw error;
      this.#database = null;
      return work(await this.#opened());
    }
  }

  async #opened() {
    if (this.#database === null) await (this.#connecting ??= this.#connect().finally(() => (this.#connecting = null)));
    return this.#database;
  }

  /** Opens the database, and counts what waits in it. */
  async #connect() {
    const request = indexedDB.open("rollcall-kiosk", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("pictures", { keyPath: "n", autoIncrement: true });
    const database = await done(request);
    let [count, bytes] = [0, 0];
    await walk(database, (picture) => {
      count += 1;
      bytes += picture.jpeg.byteLength;
    });
    database.onclose = () => (this.#database = null);
    [this.#database, this.#count, this.#bytes] = [database, count, bytes];
  }
}

/** `visit` answers false to stop. */
function walk(database, visit) {
  const request = database.transaction("pictures").objectStore("pictures").openCursor();
  return new Promise((resolve, reject) => {
    request.onerror = () => reject(request.error);
    request.onsuccess = () => {
      const cursor = request.result;
      if (cursor === null || visit(cursor.value) === false) resolve();
      else cursor.continue();
    };
  });
}

function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
