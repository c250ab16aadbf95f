/**
 * How a picture lies in the tensor: a point of it, in its own pixels and upright, is at `point · scale + offset` of the
 * tensor's.
 */
export type PicturePlace = {
  width: number;
  height: number;
  scaleX: number;
  scaleY: number;
  offsetX: number;
  offsetY: number;
};
